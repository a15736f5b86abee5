package keyring

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"
	"golang.org/x/term"
)

// What a file of age begins with (C2SP age, "Header"), also in its text form.
const ageIntro = "age-encryption.org/v1\n"

// seal encrypts a key as `age -p` does.
func seal(key []byte, passphrase string) ([]byte, error) {
	recipient, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return nil, err
	}
	var sealed bytes.Buffer
	w, err := age.Encrypt(&sealed, recipient)
	if err == nil {
		_, err = w.Write(key)
	}
	if err == nil {
		err = w.Close()
	}
	return sealed.Bytes(), err
}

// unseal opens what seal or `age -p` made. What is not encrypted it gives as it
// is, unless a passphrase is configured: then somebody believes that it is.
func unseal(data []byte, ref, passphrase, base string) ([]byte, error) {
	file := io.Reader(bytes.NewReader(data))
	switch {
	case bytes.HasPrefix(data, []byte(armor.Header)):
		file = armor.NewReader(file)
	case bytes.HasPrefix(data, []byte(ageIntro)):
	case passphrase != "":
		return nil, fmt.Errorf("%s is not under a passphrase; encrypt it (age -p -o NEW OLD) and name the new file, or remove keys.passphrase", ref)
	default:
		return data, nil
	}
	words, err := resolvePassphrase(passphrase, "passphrase of the master key ("+ref+"): ", base)
	if err != nil {
		return nil, err
	}
	identity, err := age.NewScryptIdentity(words)
	if err != nil {
		return nil, err
	}
	plain, err := age.Decrypt(file, identity)
	if errors.As(err, new(*age.NoIdentityMatchError)) {
		return nil, fmt.Errorf("%s does not open: the passphrase is another one, or the file was not made by age -p or postern keys new; "+
			"try `age -d` on it by hand", ref)
	}
	if err != nil {
		return nil, fmt.Errorf("%s is damaged, restore it from its backup: %w", ref, err)
	}
	key, err := io.ReadAll(plain)
	if err != nil {
		return nil, fmt.Errorf("%s is damaged, restore it from its backup: %w", ref, err)
	}
	return key, nil
}

// resolvePassphrase reads a passphrase by reference or, without one, from the
// terminal. The line end that an editor leaves is no part of it.
func resolvePassphrase(ref, prompt, base string) (string, error) {
	if ref == "" {
		return AskPassphrase(prompt)
	}
	data, err := Resolve(ref, base)
	if err != nil {
		return "", fmt.Errorf("keys.passphrase: %w", err)
	}
	words := strings.TrimRight(string(data), "\r\n")
	if words == "" {
		return "", fmt.Errorf("keys.passphrase: %s is an empty line; put the passphrase there", ref)
	}
	return words, nil
}

// AskPassphrase asks at the terminal, which does not show what is typed and
// shows it again afterwards, also when the person interrupts.
func AskPassphrase(prompt string) (string, error) {
	terminal, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return "", errors.New("there is no terminal to ask for the passphrase at; " +
			"add to postern.yaml keys: {passphrase: file:PATH}, or env:NAME or credential:NAME")
	}
	defer terminal.Close()
	before, err := term.GetState(int(terminal.Fd()))
	if err != nil {
		return "", fmt.Errorf("the terminal cannot be kept from showing a passphrase: %w", err)
	}
	defer func() { _ = term.Restore(int(terminal.Fd()), before) }()
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt)
	defer signal.Stop(interrupted)
	if _, err := io.WriteString(terminal, prompt); err != nil {
		return "", err
	}
	typed := make(chan string, 1)
	go func() {
		words, _ := term.ReadPassword(int(terminal.Fd()))
		typed <- string(words)
	}()
	words := ""
	select {
	case words = <-typed:
	case <-interrupted:
	}
	_, _ = io.WriteString(terminal, "\n")
	if words == "" {
		return "", errors.New("no passphrase was typed")
	}
	return words, nil
}
