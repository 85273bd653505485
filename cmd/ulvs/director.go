package main

import (
	"context"
	"errors"
)

// runDirector forwards until ctx ends. It is director.Run, once package director
// builds: return director.Run(ctx, director.Options(opt)).
func runDirector(context.Context, runOptions) error {
	return errors.New("this build cannot forward: package director is not linked in")
}
