package main

import (
	"fmt"
	"strings"
	"sync"

	logging "github.com/ipfs/go-log/v2"
)

const linesKept = 200

// watched is the engine's logger: it counts what would worry an operator, and keeps the text.
type watched struct {
	logging.StandardLogger
	mu                      sync.Mutex
	errors, warnings, dirty int
	lines                   []string
}

func newWatched() *watched {
	return &watched{StandardLogger: logging.Logger("crdt")}
}

func (w *watched) note(count *int, line string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	*count++
	if strings.Contains(strings.ToLower(line), "dirty") {
		w.dirty++
	}
	if len(w.lines) < linesKept {
		w.lines = append(w.lines, line)
	}
}

func (w *watched) report() map[string]any {
	w.mu.Lock()
	defer w.mu.Unlock()
	return map[string]any{
		"errors": w.errors, "warnings": w.warnings, "dirty": w.dirty, "lines": append([]string{}, w.lines...),
	}
}

func (w *watched) Error(args ...any) {
	w.note(&w.errors, fmt.Sprint(args...))
	w.StandardLogger.Error(args...)
}

func (w *watched) Errorf(format string, args ...any) {
	w.note(&w.errors, fmt.Sprintf(format, args...))
	w.StandardLogger.Errorf(format, args...)
}

func (w *watched) Warn(args ...any) {
	w.note(&w.warnings, fmt.Sprint(args...))
	w.StandardLogger.Warn(args...)
}

func (w *watched) Warnf(format string, args ...any) {
	w.note(&w.warnings, fmt.Sprintf(format, args...))
	w.StandardLogger.Warnf(format, args...)
}
