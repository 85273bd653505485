package sandbox

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"ulvs/internal/testutil"
)

// insideVariable makes the test binary enter and report what it still can: nothing comes back out of a sandbox.
const insideVariable = "ULVS_TEST_SANDBOX"

func TestMain(m *testing.M) {
	switch os.Getenv(insideVariable) {
	case "":
		os.Exit(m.Run())
	case "1":
		os.Exit(inside(Options{}))
	case "2":
		os.Exit(inside(Options{ReadSearch: true}))
	}
	os.Exit(again(os.Getenv(insideVariable)))
}

// inside enters with many threads alive and prints what each of them has, and what the process can do.
func inside(o Options) int {
	var ready, done sync.WaitGroup
	stop := make(chan struct{})
	for range 8 {
		ready.Add(1)
		done.Add(1)
		go func() {
			defer done.Done()
			runtime.LockOSThread()
			ready.Done()
			<-stop
		}()
	}
	ready.Wait()
	_, err := Enter(o)
	fmt.Println("enter:", err)
	tasks, _ := filepath.Glob("/proc/self/task/*/status")
	for _, path := range tasks {
		text, _ := os.ReadFile(path)
		for _, line := range strings.Split(string(text), "\n") {
			for _, key := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp:"} {
				if strings.HasPrefix(line, key) {
					fmt.Println("thread", strings.Join(strings.Fields(line), " "))
				}
			}
		}
	}
	fmt.Println("mount:", unix.Mount("none", "/", "", unix.MS_REMOUNT, ""))
	fmt.Println("unshare:", unix.Unshare(unix.CLONE_NEWNS))
	_, _, errno := unix.Syscall(unix.SYS_PTRACE, unix.PTRACE_TRACEME, 0, 0)
	fmt.Println("ptrace:", errno)
	fmt.Println("chown:", os.Chown(os.Args[0], 12345, 12345))
	_, err = net.Listen("tcp", "127.0.0.1:0")
	fmt.Println("listen:", err)
	raw, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)
	fmt.Println("raw:", raw > 0, err)
	out, err := exec.Command("cat", "/proc/self/status").Output()
	child := string(out)
	fmt.Println("child:", strings.Contains(child, "NoNewPrivs:\t1"), strings.Contains(child, "Seccomp:\t2"), err)
	close(stop)
	done.Wait()
	return 0
}

// enter runs this binary inside.
func enter(t *testing.T, how string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		testutil.Require(t, testutil.NeedNetNS, "only root has privileges to lose")
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), insideVariable+"="+how)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("inside: %v\n%s", err, out)
	}
	return string(out)
}

func TestEveryThreadLosesWhatADirectorDoesNotNeed(t *testing.T) {
	out := enter(t, "1")
	if testutil.RaceEnabled {
		if !strings.Contains(out, ErrCgo.Error()) {
			t.Errorf("with cgo it does not say so:\n%s", out)
		}
		return
	}
	kept := uint64(0)
	for _, c := range Kept {
		kept |= 1 << c.Number
	}
	threads := 0
	for _, line := range strings.Split(out, "\n") {
		var key string
		var set uint64
		if n, _ := fmt.Sscanf(line, "thread %s %x", &key, &set); n != 2 {
			continue
		}
		threads++
		switch key {
		case "CapInh:", "CapAmb:":
			set |= ^uint64(0) * min(set, 1) // any is too many
		case "NoNewPrivs:", "Seccomp:":
			continue
		}
		if set&^kept != 0 {
			t.Errorf("%s has more than %x", line, kept)
		}
	}
	if threads < 7*8 {
		t.Errorf("only %d lines about threads:\n%s", threads, out)
	}
	for _, want := range []string{"enter: <nil>", "mount: operation not permitted", "unshare: operation not permitted",
		"ptrace: operation not permitted", "chown: chown", "listen: <nil>", "raw: true <nil>", "child: true true <nil>"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	if strings.Contains(out, "NoNewPrivs: 0") || strings.Contains(out, "Seccomp: 0") {
		t.Errorf("a thread was forgotten:\n%s", out)
	}
}

func TestFilesOfOthersStayReadableIfAsked(t *testing.T) {
	if testutil.RaceEnabled {
		t.Skip("with cgo there is no sandbox")
	}
	bit := uint64(1) << unix.CAP_DAC_READ_SEARCH
	for how, want := range map[string]bool{"1": false, "2": true} {
		var set uint64
		for _, line := range strings.Split(enter(t, how), "\n") {
			if n, _ := fmt.Sscanf(line, "thread CapEff: %x", &set); n == 1 && (set&bit != 0) != want {
				t.Errorf("asked %s: %s", how, line)
			}
		}
	}
}

// The i386 and x32 numberings are ways around a list of amd64's numbers, unless they are closed.
func TestOtherNumberingsAreRefused(t *testing.T) {
	prog, err := program()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name         string
		arch, number uint32
		want         uint32
	}{
		{"read", auditArch, unix.SYS_READ, unix.SECCOMP_RET_ALLOW},
		{"mount", auditArch, unix.SYS_MOUNT, unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{"mount by another processor's number", unix.AUDIT_ARCH_I386, 21, unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
		{"mount by x32", auditArch, x32Bit | unix.SYS_MOUNT, unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
	} {
		if got := run(prog, c.arch, c.number); got != c.want {
			t.Errorf("%s: %#x, want %#x", c.name, got, c.want)
		}
	}
	for _, list := range [][]Call{Denied, archDenied} {
		for _, call := range list {
			if run(prog, auditArch, uint32(call.Number)) != unix.SECCOMP_RET_ERRNO|uint32(unix.EPERM) || call.Why == "" {
				t.Errorf("call %d is not denied with a reason", call.Number)
			}
		}
	}
}

// run interprets the few instructions that program uses.
func run(prog []unix.SockFilter, arch, number uint32) uint32 {
	a := uint32(0)
	for pc := 0; pc < len(prog); pc++ {
		in := prog[pc]
		taken := false
		switch in.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			a = map[uint32]uint32{offNumber: number, offArch: arch}[in.K]
			continue
		case unix.BPF_RET | unix.BPF_K:
			return in.K
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			taken = a == in.K
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			taken = a >= in.K
		default:
			panic(fmt.Sprintf("instruction %#x", in.Code))
		}
		if taken {
			pc += int(in.Jt)
		} else {
			pc += int(in.Jf)
		}
	}
	panic("the program has no end")
}

func TestErrCgoIsOneToAskFor(t *testing.T) {
	if err := errors.Join(fmt.Errorf("drop: %w", ErrCgo), nil); !errors.Is(err, ErrCgo) {
		t.Error(err)
	}
}
