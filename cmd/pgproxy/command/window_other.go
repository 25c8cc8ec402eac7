//go:build !unix

package command

import "os"

func windowColumns(*os.File) int { return 0 }
