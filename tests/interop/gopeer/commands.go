package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"sort"
	"time"

	"github.com/ipfs/go-cid"
	ds "github.com/ipfs/go-datastore"
	corepeer "github.com/libp2p/go-libp2p/core/peer"
)

// op is one line of a batch.
type op struct {
	Op    string `json:"op"` // put | delete
	Key   string `json:"key"`
	Value string `json:"value"` // hex
}

type request struct {
	ID       int                  `json:"id"`
	Cmd      string               `json:"cmd"`
	Async    bool                 `json:"async"`   // answered when done, out of order
	Timeout  float64              `json:"timeout"` // seconds
	Addr     string               `json:"addr"`
	Peer     string               `json:"peer"`
	Key      string               `json:"key"`
	N        int                  `json:"n"`
	Counts   map[string][2]uint64 `json:"counts"`
	Hex      string               `json:"hex"`
	Cids     []string             `json:"cids"`
	Codec    uint64               `json:"codec"`
	Hash     uint64               `json:"hash"`
	Size     int                  `json:"size"`
	Seed     int64                `json:"seed"`
	Parallel int                  `json:"parallel"`
	Session  bool                 `json:"session"`
	Ops      []op                 `json:"ops"`
	In       float64              `json:"in"`
	Out      float64              `json:"out"`
}

// do runs one command; the arguments that several commands share are decoded first.
func (p *peer) do(ctx context.Context, r request) (any, error) {
	if r.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(r.Timeout*float64(time.Second)))
		defer cancel()
	}
	data, err := hex.DecodeString(r.Hex)
	if err != nil {
		return nil, err
	}
	cids := make([]cid.Cid, len(r.Cids))
	for i, text := range r.Cids {
		if cids[i], err = cid.Decode(text); err != nil {
			return nil, err
		}
	}
	switch r.Cmd {
	case "connect":
		return nil, connect(ctx, p.host, r.Addr)
	case "disconnect", "block", "unblock":
		other, err := corepeer.Decode(r.Peer)
		if err != nil {
			return nil, err
		}
		return nil, p.cut(other, r.Cmd)
	case "loss":
		p.caster.loss.set(r.Seed, r.In, r.Out)
		return nil, nil
	case "peers":
		return map[string]any{"host": p.host.Network().Peers(), "topic": p.caster.topic.ListPeers()}, nil
	case "protocols":
		other, err := corepeer.Decode(r.Peer)
		if err != nil {
			return nil, err
		}
		return p.host.Peerstore().GetProtocols(other)
	case "incr", "decr":
		return nil, p.step(ctx, r.Cmd, r.Key, r.N)
	case "count":
		return nil, p.count(ctx, r.Counts)
	case "batch":
		return nil, p.batch(ctx, r.Ops)
	case "get":
		value, err := p.engine.Get(ctx, ds.NewKey(r.Key))
		return hex.EncodeToString(value), err
	case "query":
		return p.query(ctx, r.Key)
	case "aggregated":
		return p.aggregated(ctx, r.Key)
	case "status":
		return p.status(ctx), nil
	case "log":
		return p.log.report(), nil
	case "publish":
		return nil, p.caster.topic.Publish(ctx, data)
	case "put_block":
		return p.putBlock(ctx, data, r.Codec, r.Hash)
	case "put_random":
		return p.putRandom(ctx, r)
	case "has_block":
		return p.blocks.Has(ctx, cids[0])
	case "fetch":
		return p.fetch(ctx, cids, r.Parallel, r.Session)
	case "wantlist":
		return p.exchange.GetWantlist(), nil
	case "provide":
		return nil, p.provide(ctx, cids)
	case "dht_peers":
		if p.routing == nil {
			return nil, errNoDHT
		}
		return p.routing.RoutingTable().Size(), nil
	case "providers":
		return p.providers(ctx, cids[0])
	}
	return nil, fmt.Errorf("unknown command %q", r.Cmd)
}

func (p *peer) status(ctx context.Context) map[string]any {
	stats := p.engine.InternalStats(ctx)
	heads := []string{}
	for _, head := range stats.Heads {
		heads = append(heads, head.String())
	}
	sort.Strings(heads)
	return map[string]any{
		"heads": heads, "height": stats.MaxHeight, "queued": stats.QueuedJobs, "dirty": p.engine.IsDirty(ctx),
	}
}
