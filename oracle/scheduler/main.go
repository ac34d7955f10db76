// The scheduler's own filter plugins as a program: one cluster a line in, one line of verdicts out.
//
// Standard input holds one List a line, as `kubectl get nodes,pods,… -A -o json` gives. The answer
// says for every pending pod and every node which filters of kube-scheduler refuse, each asked by
// itself. Nothing of ours decides anything here.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

// An answer is one line of the output.
type answer struct {
	Version int          `json:"version,omitempty"`
	Pods    []podVerdict `json:"pods,omitempty"`
	Error   string       `json:"error,omitempty"`
}

type podVerdict struct {
	Pod   string        `json:"pod"`
	Nodes []nodeVerdict `json:"nodes"`
}

type nodeVerdict struct {
	Node    string   `json:"node"`
	Fits    bool     `json:"fits"`
	Filters []string `json:"filters"`
}

func main() {
	strict := flag.Bool("strict", false, "refuse clusters with objects that the API server would not have accepted")
	flag.Parse()
	if err := run(os.Stdin, os.Stdout, *strict); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(2)
	}
}

func run(in io.Reader, out io.Writer, strict bool) error {
	judge, err := newJudge()
	if err != nil {
		return err
	}
	lines := bufio.NewReaderSize(in, 1<<20)
	answers := bufio.NewWriterSize(out, 1<<16)
	encoder := json.NewEncoder(answers)
	encoder.SetEscapeHTML(false)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			if err := encoder.Encode(answerTo(judge, line, strict)); err != nil {
				return err
			}
			// Whoever waits for this answer before the next question gets it now.
			if lines.Buffered() == 0 {
				if err := answers.Flush(); err != nil {
					return err
				}
			}
		}
		if errors.Is(err, io.EOF) {
			return answers.Flush()
		}
		if err != nil {
			return err
		}
	}
}

func answerTo(judge *judge, line []byte, strict bool) answer {
	cluster, err := decode(line, strict)
	if err != nil {
		return answer{Error: err.Error()}
	}
	pods, err := judge.verdicts(cluster)
	if err != nil {
		return answer{Error: err.Error()}
	}
	return answer{Version: 1, Pods: pods}
}
