package policies

// EnvOfTests is the clinic that testdata/right is checked in.
var EnvOfTests = testEnv

// Rights are policies made in code that Check finds right, by name.
var Rights = allowed
