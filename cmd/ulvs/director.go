package main

import (
	"context"

	"ulvs/director"
)

// runDirector forwards until ctx ends.
func runDirector(ctx context.Context, opt runOptions) error {
	return director.Run(ctx, director.Options(opt))
}
