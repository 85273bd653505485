// Package doctor plants the faults that operators tell of in the lab, one group after another, and wants ulvs doctor to
// find each by its code and its subject, and nothing else: the binary in the director's namespace, with and without a
// running director.
//
// It owns what each fault is. Faults of the machine itself (kernel, queues, interrupts) are planted in recorded
// machines, beside package doctor.
package doctor
