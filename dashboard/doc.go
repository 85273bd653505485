// Package dashboard is a page for browsers that shows a running director and changes nothing.
//
// It owns the page, what its API answers, an hour of history in fixed memory, and the rules of who may
// load it: a known Host, GET only, nothing from elsewhere. It asks the director through control's
// interfaces, as the control socket does, and knows nothing that the socket does not tell.
package dashboard
