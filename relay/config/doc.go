// Package config reads config.toml: defaults, types, unknown keys, and every problem at
// once, each with its line. What comes out is checked and complete; nobody else reads the
// file. The shipped config.toml at the top of the repository is its manual.
package config
