// Package drivers runs the drivers' own test suites, from the Go module cache, against PostgreSQL directly and through the
// proxy: whatever passes directly must pass through the proxy.
package drivers
