// Package journaltest opens journals for tests of any room and, when the test ends, checks that they are whole.
//
//	test -> Open -> journal.Journal ... test ends -> Close -> journal.Check: no problem, or the test has failed
package journaltest
