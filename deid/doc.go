// Package deid is the engine that turns a record into what may leave of it.
//
// A policy's release of one dataset is compiled into a Plan, which is an
// allow-list: a member or column that the plan does not name is dropped and
// counted, never passed. An Engine applies the plan while it copies bytes,
// without a generic map and, in steady state, without allocation. Its output
// depends on the plan, the record and the Subject alone.
//
// What it promises: a value is written only where the plan names its leaf,
// only if it has the JSON type that FHIR R4 gives it, and only after the plan's
// transform (45 CFR 164.514(b)(2)(i)); what cannot be transformed is dropped.
// An unknown modifierExtension rejects the record (FHIR R4 §2.4.0.1: whoever
// does not understand one must not process the element).
//
// What it does not: decide whether a record may leave (package consent), or
// look once more at what it wrote (package deid/gate, which shares no code
// with this one). Codes of people and row keys are not known here: fixed-width
// placeholders and Holes say where the caller writes them.
//
// FHIR datasets become NDJSON, delimited datasets CSV (RFC 4180 quoting, LF), or
// what the recipient's layout says (docs/layouts.md). A CSV cell that begins with = + - or @ is
// written as it stands: it is data for a payer's loader, not for a spreadsheet.
package deid
