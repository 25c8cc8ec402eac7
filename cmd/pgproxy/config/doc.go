// Package config is the settings of `pgproxy serve`: where they come from, and whether they make sense.
//
//	defaults  <  YAML file (--config)  <  PGPROXY_* environment  <  flags          ──> Config ──> Validate
//
// There is one table of settings, the flags (settings.go). A setting has one name everywhere: the flag --data-dir is the key
// data-dir in the file and PGPROXY_DATA_DIR in the environment. What may be given several times is a list in the file and
// separated by commas in the environment. Values are taken as they are written: a $ is a $.
//
// Only cmd knows this package; rooms take their own Options.
package config
