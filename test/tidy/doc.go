// Package tidy holds the rules of the house as a test: which room may import which, how long a file may be, what may not be
// called, and that every room and every link is what it says. A rule that cannot be kept somewhere is argued in the test, in
// the list of exceptions beside it; a list that has an entry too many fails as well.
package tidy
