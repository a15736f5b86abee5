// Package bruteforce holds the comparison of policies against an oracle that
// shares no code with it: pairs of versions that differ by one to three edits
// drawn from every construct of the language, and an interpreter of policies
// that enumerates situations (docs/comparing-policies.md). It promises that
// the interpreter is held against the engines that decide, select and
// transform. It has tests only, and lies here because they import every room.
package bruteforce
