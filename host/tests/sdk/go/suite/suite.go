// Package suite uses the fixture server through one client library, and says what worked.
//
//	PROGRAM --transport sse|http|stdio --version 2025-11-25 [--skip NAME,...] URL|COMMAND [ARG ...]
//
// One line per check; the exit code is 1 if one failed.
package suite

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Patience is how long a check may take. A client that falls back only after its own patience
// (mcp-go: 5 s) fails the first check.
const Patience = 4 * time.Second

// Client is one connected client.
type Client interface {
	Version() string
	Tools(ctx context.Context) ([]string, error)
	// Call returns the text of the result; onProgress is nil where none is wanted.
	Call(ctx context.Context, tool string, arguments map[string]any, onProgress func()) (string, error)
	Prompt(ctx context.Context, name string) (string, error)
	Resource(ctx context.Context, uri string) (string, error)
	Close() error
}

// Target says where the server is.
type Target struct {
	Transport string
	Args      []string
}

// What clients answer when they are asked.
const (
	Sampled = "sampled by the suite"
	Named   = "Ada"
	Root    = "file:///the/root"
)

// Run connects and makes every check.
func Run(connect func(context.Context, Target) (Client, error)) {
	transport := flag.String("transport", "", "sse, http or stdio")
	skip := flag.String("skip", "", "checks that are not made, by their names with commas between them")
	version := flag.String("version", "", "the revision that must come of it")
	flag.Parse()
	began := time.Now()
	// Streams last as long as the context that they were opened with, so that one cannot have a deadline.
	late := time.AfterFunc(Patience, func() {
		fmt.Printf("FAILED connect: nothing came of it within %v\n", Patience)
		os.Exit(1)
	})
	client, err := connect(context.Background(), Target{Transport: *transport, Args: flag.Args()})
	late.Stop()
	if err != nil {
		fmt.Printf("FAILED connect after %v: %v\n", time.Since(began), err)
		os.Exit(1)
	}
	checks := []struct {
		name  string
		check func(context.Context) error
	}{
		{"the revision", func(context.Context) error { return same(client.Version(), *version) }},
		{"tools", func(ctx context.Context) error {
			tools, err := client.Tools(ctx)
			return has(strings.Join(tools, ","), "echo", err)
		}},
		{"a call", func(ctx context.Context) error { return called(ctx, client, "echo", "text", "hello", "hello") }},
		{"a text of 100 kB", func(ctx context.Context) error {
			text := strings.Repeat("0123456789", 10_000)
			return called(ctx, client, "echo", "text", text, text)
		}},
		{"sampling", func(ctx context.Context) error { return called(ctx, client, "ask_sampling", "text", "?", Sampled) }},
		{"elicitation", func(ctx context.Context) error { return called(ctx, client, "ask_elicitation", "text", "?", Named) }},
		{"roots", func(ctx context.Context) error { return called(ctx, client, "ask_roots", "text", "?", Root) }},
		{"roots again", func(ctx context.Context) error { return called(ctx, client, "ask_roots", "text", "?", Root) }},
		{"progress", func(ctx context.Context) error { return progress(ctx, client) }},
		{"an unknown tool", func(ctx context.Context) error {
			text, err := client.Call(ctx, "no such tool", nil, nil)
			if err == nil {
				return fmt.Errorf("it answers %q", text)
			}
			return has(err.Error(), "no such tool", nil)
		}},
		{"a prompt", func(ctx context.Context) error {
			text, err := client.Prompt(ctx, "greet")
			return has(text, "greet", err)
		}},
		{"a resource", func(ctx context.Context) error {
			text, err := client.Resource(ctx, "fixture://open/notes")
			return has(text, "content of fixture://open/notes", err)
		}},
		{"calls at once", func(ctx context.Context) error { return atOnce(ctx, client) }},
		{"a call that is given up", func(ctx context.Context) error { return givenUp(ctx, client) }},
	}
	passed, failed := 0, 0
	for _, one := range checks {
		if slices.Contains(strings.Split(*skip, ","), one.name) {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), Patience)
		if err := one.check(ctx); err != nil {
			failed++
			fmt.Printf("FAILED %s: %v\n", one.name, err)
		} else {
			passed++
			fmt.Printf("ok %s\n", one.name)
		}
		cancel()
	}
	if err := client.Close(); err != nil {
		fmt.Printf("closing: %v\n", err)
	}
	fmt.Printf("%d of %d checks passed\n", passed, passed+failed)
	if failed > 0 {
		os.Exit(1)
	}
}

func called(ctx context.Context, client Client, tool, argument, value, wanted string) error {
	text, err := client.Call(ctx, tool, map[string]any{argument: value}, nil)
	return has(text, wanted, err)
}

func progress(ctx context.Context, client Client) error {
	heard := make(chan struct{}, 4)
	_, err := client.Call(ctx, "progress", map[string]any{"n": 4}, func() { heard <- struct{}{} })
	if err != nil {
		return err
	}
	for count := range 4 {
		select {
		case <-heard:
		case <-ctx.Done():
			return fmt.Errorf("%d of 4 arrived", count)
		}
	}
	return nil
}

func atOnce(ctx context.Context, client Client) error {
	var group sync.WaitGroup
	failures := make(chan error, 8)
	for number := range 8 {
		group.Go(func() {
			text := fmt.Sprintf("number %d", number)
			failures <- called(ctx, client, "echo", "text", text, text)
		})
	}
	group.Wait()
	for range 8 {
		if err := <-failures; err != nil {
			return err
		}
	}
	return nil
}

// The client is none the worse for it. That the server hears of it is seen in what it wrote down.
func givenUp(ctx context.Context, client Client) error {
	short, cancel := context.WithCancel(ctx)
	begun := make(chan struct{}, 1)
	go func() {
		<-begun
		cancel()
	}()
	_, err := client.Call(short, "wait", map[string]any{"key": "given up", "tell": true}, func() { begun <- struct{}{} })
	if err == nil {
		return fmt.Errorf("it was answered")
	}
	return called(ctx, client, "echo", "text", "hello", "hello")
}

func same(is, wanted string) error {
	if is != wanted {
		return fmt.Errorf("%q instead of %q", is, wanted)
	}
	return nil
}

func has(text, wanted string, err error) error {
	if err != nil {
		return err
	}
	if !strings.Contains(text, wanted) {
		return fmt.Errorf("no %.60q in %.200q", wanted, text)
	}
	return nil
}

// Text is content as JSON, for looking something up in.
func Text(content any) string {
	text, err := json.Marshal(content)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
