package pgtest

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"text/template"
)

// Conversation is a parsed file.
type Conversation struct {
	Name  string
	Only  int // first major version to run on; 0 is any
	Setup []string
	Masks []Mask
	Steps []Step
}

// Mask is what may differ, by its nature.
type Mask struct {
	Pattern *regexp.Regexp
	Text    string
	Reason  string
}

// Step is one line: a verb and its words.
type Step struct {
	Line  int
	Verb  string
	Words []string
}

// Read parses a file.
func Read(path string) (*Conversation, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read conversation: %w", err)
	}
	t, err := template.New("conversation").Funcs(template.FuncMap{
		"repeat": func(n int, s string) string { return strings.Repeat(s, n) },
	}).Parse(string(text))
	if err != nil {
		return nil, fmt.Errorf("read conversation: %w", err)
	}
	var filled bytes.Buffer
	if err := t.Execute(&filled, nil); err != nil {
		return nil, fmt.Errorf("fill conversation: %w", err)
	}
	c := &Conversation{Name: path}
	for i, line := range strings.Split(filled.String(), "\n") {
		if err := c.add(i+1, strings.TrimSpace(line)); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, i+1, err)
		}
	}
	return c, nil
}

func (c *Conversation) add(number int, line string) error {
	if line == "" {
		return nil
	}
	if line[0] == '#' {
		c.Steps = append(c.Steps, Step{number, "#", []string{line}})
		return nil
	}
	words, err := split(line)
	if err != nil {
		return err
	}
	verb, words := words[0], words[1:]
	switch verb {
	case "only":
		if len(words) != 1 {
			return fmt.Errorf("only takes a major version")
		}
		c.Only, err = strconv.Atoi(words[0])
		return err
	case "mask":
		if len(words) != 3 {
			return fmt.Errorf("mask takes a pattern, a text and a reason")
		}
		pattern, err := regexp.Compile(words[0])
		c.Masks = append(c.Masks, Mask{pattern, words[1], words[2]})
		return err
	case "setup":
		c.Setup = append(c.Setup, strings.Join(words, " "))
		return nil
	}
	if _, known := verbs[verb]; !known {
		return fmt.Errorf("unknown verb %q", verb)
	}
	if want := verbs[verb]; len(words) < want {
		return fmt.Errorf("%s takes at least %d words", verb, want)
	}
	c.Steps = append(c.Steps, Step{number, verb, words})
	return nil
}

// verbs are the steps and the least number of their words.
var verbs = map[string]int{"conn": 1, "raw": 1, "query": 1, "parse": 2, "bind": 2, "describe": 2, "execute": 1, "close": 2, "sync": 0,
	"flush": 0, "copydata": 1, "copydone": 0, "copyfail": 1, "call": 1, "terminate": 0, "hex": 1, "until": 1, "silence": 0, "end": 0,
	"cancel": 1, "drop": 0, "startup": 1}

// split cuts a line into words: bare, "quoted" or `raw`.
func split(line string) ([]string, error) {
	var words []string
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimSpace(line) {
		if line[0] != '"' && line[0] != '`' {
			word, rest, _ := strings.Cut(line, " ")
			words, line = append(words, word), rest
			continue
		}
		quoted, err := strconv.QuotedPrefix(line)
		if err != nil {
			return nil, fmt.Errorf("quotation does not end: %.60s", line)
		}
		word, err := strconv.Unquote(quoted)
		if err != nil {
			return nil, fmt.Errorf("read quotation %.60s: %w", quoted, err)
		}
		words, line = append(words, word), line[len(quoted):]
	}
	return words, nil
}
