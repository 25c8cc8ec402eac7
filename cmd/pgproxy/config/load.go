package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// envPrefix begins the name of every variable that is a setting.
const envPrefix = "PGPROXY_"

// fileVariable names the file when --config does not.
const fileVariable = envPrefix + "CONFIG"

// notSettings are PGPROXY_ variables that mean something else.
var notSettings = map[string]bool{fileVariable: true, envPrefix + "FAULT": true}

// Load lays file and environment under the flags that were given on the command line. fs holds the flags of Bind, parsed; file
// is the value of --config ("" asks PGPROXY_CONFIG). Environment is as os.Environ gives it.
//
// An unknown key in the file is an error; an unknown PGPROXY_ variable may be another program's, and is a warning only if it
// looks like a setting.
func Load(fs *pflag.FlagSet, file string, environment []string) (warnings []string, err error) {
	env := map[string]string{}
	for _, kv := range environment {
		if k, v, ok := strings.Cut(kv, "="); ok && strings.HasPrefix(k, envPrefix) {
			env[k] = v
		}
	}
	given := map[string]bool{}
	fs.Visit(func(f *pflag.Flag) { given[f.Name] = true })
	if file == "" {
		file = env[fileVariable]
	}
	var problems []error
	if file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read config: %w", err)
		}
		problems = append(problems, applyFile(fs, file, text, given)...)
	}
	warnings, bad := applyEnv(fs, env, given)
	return warnings, errors.Join(append(problems, bad...)...)
}

// Variable is the name of a setting in the environment.
func Variable(setting string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(setting, "-", "_"))
}

func applyEnv(fs *pflag.FlagSet, env map[string]string, given map[string]bool) (warnings []string, problems []error) {
	known := map[string]bool{}
	fs.VisitAll(func(f *pflag.Flag) {
		name := Variable(f.Name)
		known[name] = true
		text, ok := env[name]
		if !ok || given[f.Name] {
			return
		}
		values := []string{text}
		if _, list := f.Value.(pflag.SliceValue); list {
			values = splitList(text)
		}
		if err := set(f, values); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", name, err))
		}
	})
	for name := range env {
		if known[name] || notSettings[name] {
			continue
		}
		short := map[string]bool{}
		for k := range known {
			short[strings.TrimPrefix(k, envPrefix)] = true
		}
		if near := suggest(strings.TrimPrefix(name, envPrefix), short); near != "" {
			warnings = append(warnings, fmt.Sprintf("%s is no setting%s", name, near))
		}
	}
	slices.Sort(warnings)
	return warnings, problems
}

func splitList(text string) []string {
	out := []string{}
	for _, v := range strings.Split(text, ",") {
		if v = strings.TrimSpace(v); v != "" {
			out = append(out, v)
		}
	}
	return out
}

// applyFile reads the file strictly: every unknown or repeated key is a problem with its line.
func applyFile(fs *pflag.FlagSet, file string, text []byte, given map[string]bool) []error {
	var doc yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(text))
	switch err := d.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return []error{fmt.Errorf("%s: %w", file, err)}
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return []error{fmt.Errorf("%s: more than one document", file)}
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return nil
	}
	if root.Kind != yaml.MappingNode {
		return []error{fmt.Errorf("%s:%d: the file is not a list of \"key: value\"", file, root.Line)}
	}
	known := map[string]bool{}
	fs.VisitAll(func(f *pflag.Flag) { known[f.Name] = f.Name != "config" && f.Name != "help" })
	var problems []error
	seen := map[string]int{}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		name := strings.ReplaceAll(key.Value, "_", "-")
		switch {
		case !known[name]:
			problems = append(problems, fmt.Errorf("%s:%d: unknown key %q%s", file, key.Line, key.Value, suggest(name, known)))
			continue
		case seen[name] > 0:
			problems = append(problems, fmt.Errorf("%s:%d: key %q stands already in line %d", file, key.Line, key.Value, seen[name]))
			continue
		}
		seen[name] = key.Line
		f := fs.Lookup(name)
		values, err := nodeValues(f, value)
		if err == nil && !given[name] {
			err = set(f, values)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%s:%d: %s: %w", file, value.Line, key.Value, err))
		}
	}
	return problems
}

// nodeValues gives a setting's value as texts: a scalar, for what is repeatable also a list, or a mapping whose entries become
// "key=value".
func nodeValues(f *pflag.Flag, n *yaml.Node) ([]string, error) {
	_, list := f.Value.(pflag.SliceValue)
	scalar := func(n *yaml.Node) (string, error) {
		if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
			return "", errors.New("a value is missing, or is no plain text")
		}
		return n.Value, nil
	}
	var out []string
	switch {
	case list && n.Kind == yaml.SequenceNode:
		for _, c := range n.Content {
			v, err := scalar(c)
			if err != nil {
				return nil, err
			}
			out = append(out, v)
		}
		return out, nil
	case list && n.Kind == yaml.MappingNode:
		seen := map[string]bool{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			k := n.Content[i].Value
			v, err := scalar(n.Content[i+1])
			if err != nil {
				return nil, err
			}
			if seen[k] {
				return nil, fmt.Errorf("key %q stands there twice", k)
			}
			seen[k] = true
			out = append(out, k+"="+v)
		}
		return out, nil
	}
	v, err := scalar(n)
	return []string{v}, err
}

func set(f *pflag.Flag, values []string) error {
	if l, ok := f.Value.(pflag.SliceValue); ok {
		return l.Replace(values)
	}
	if len(values) != 1 {
		return errors.New("it takes one value")
	}
	if err := f.Value.Set(values[0]); err != nil {
		return fmt.Errorf("%q does not do: %w", values[0], err)
	}
	return nil
}
