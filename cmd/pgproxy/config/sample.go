package config

import _ "embed"

// Sample is a commented file with every setting; a test holds it to that.
//
//go:embed sample.yaml
var Sample string
