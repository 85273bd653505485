package control

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/user"
	"slices"
	"strconv"
	"syscall"
)

// peer is who is at the other end of the socket, as the kernel knows it from when the connection was made.
type peer struct{ uid, gid, pid uint32 }

// peerKey is the context's key for the peer.
type peerKey struct{}

// withPeer is http.Server's ConnContext: it asks the socket who is there.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	cred := peerCred(c)
	if cred == nil {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, peer{cred.Uid, cred.Gid, uint32(cred.Pid)})
}

// mayChange tells whether the peer is root, the daemon's own user or in GroupAdmin.
func (s *Server) mayChange(r *http.Request) bool {
	p, ok := r.Context().Value(peerKey{}).(peer)
	return ok && (p.uid == 0 || p.uid == uint32(os.Geteuid()) || s.isAdmin(p))
}

// inAdmins tells whether the user, or the process, is in GroupAdmin, by the machine's lists of users and groups.
func inAdmins(p peer) bool {
	gid, ok := groupID(GroupAdmin)
	if !ok {
		return false
	}
	if uint32(gid) == p.gid {
		return true
	}
	u, err := user.LookupId(strconv.FormatUint(uint64(p.uid), 10))
	if err != nil {
		return false
	}
	gids, err := u.GroupIds()
	return err == nil && slices.Contains(gids, strconv.Itoa(gid))
}

// asAdmin lets through who may change things; the socket's group may look.
func (s *Server) asAdmin(h editorHandler) http.HandlerFunc {
	return s.withEditor(func(w http.ResponseWriter, r *http.Request, e Editor) {
		if !s.mayChange(r) {
			s.refuseErrno(w, http.StatusForbidden,
				errors.New("only root and the group "+GroupAdmin+" may change a director"), syscall.EPERM)
			return
		}
		if p, _ := r.Context().Value(peerKey{}).(peer); p.uid != 0 {
			s.log.Info("a change was asked for", "call", r.URL.Path, "uid", p.uid, "pid", p.pid)
		}
		h(w, r, e)
	})
}
