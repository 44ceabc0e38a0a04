// Command gopeer is a scriptable go-ds-crdt replica with Warpnet's options: JSON lines in, JSON lines out.
//
// It prints a "ready" event, then answers each request {"id", "cmd", ...} with {"id", "ok", "err", "result"}.
// What the topic carries shows up as "sent" and "received" events. End of input closes it.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"os"
	"sync"
	"time"
)

// output serialises everything written to stdout, one JSON object a line.
type output struct {
	mu  sync.Mutex
	enc *json.Encoder
}

func (o *output) write(v map[string]any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.enc.Encode(v)
}

func (o *output) event(name string, fields map[string]any) {
	fields["event"] = name
	o.write(fields)
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func flags() settings {
	var s settings
	flag.StringVar(&s.seed, "seed", "", "text that fixes the identity key (empty: random)")
	flag.StringVar(&s.dir, "dir", "", "LevelDB directory (empty: in memory)")
	flag.StringVar(&s.listen, "listen", "/ip4/127.0.0.1/tcp/0", "listen multiaddr")
	flag.StringVar(&s.topic, "topic", "/warpnet/stats/1.0.0", "gossip topic")
	flag.StringVar(&s.swarmKey, "swarm-key", "", "file with the key of a private network")
	flag.BoolVar(&s.dht, "dht", false, "be a server of the DHT, and find blocks by it")
	flag.StringVar(&s.dial, "dial", "", "multiaddr to dial before bitswap starts")
	flag.DurationVar(&s.rebroadcast, "rebroadcast", time.Minute, "rebroadcast interval")
	flag.DurationVar(&s.dagTimeout, "dag-timeout", time.Minute, "how long a block is waited for")
	flag.Parse()
	return s
}

func main() {
	s := flags()
	out := &output{enc: json.NewEncoder(os.Stdout)}
	ctx, cancel := context.WithCancel(context.Background())
	p, err := newPeer(ctx, s, out)
	if err != nil {
		out.event("failed", map[string]any{"err": err.Error()})
		os.Exit(1)
	}
	addrs := []string{}
	for _, a := range p.host.Addrs() {
		addrs = append(addrs, a.String()+"/p2p/"+p.host.ID().String())
	}
	out.event("ready", map[string]any{"peer": p.host.ID().String(), "addrs": addrs, "generation": p.generation})

	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var r request
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			out.write(map[string]any{"id": 0, "ok": false, "err": err.Error()})
			continue
		}
		if r.Cmd == "close" {
			err := p.close(cancel)
			out.write(map[string]any{"id": r.ID, "ok": err == nil, "err": text(err)})
			return
		}
		serve := func() {
			result, err := p.do(ctx, r)
			out.write(map[string]any{"id": r.ID, "ok": err == nil, "err": text(err), "result": result})
		}
		if r.Async {
			go serve()
		} else {
			serve()
		}
	}
	p.close(cancel)
}
