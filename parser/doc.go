// Package parser turns SQL text into meaning, and knows nothing else: no I/O, no clock, no catalog.
package parser
