package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"time"

	"github.com/ipfs/boxo/bitswap"
	"github.com/ipfs/boxo/bitswap/network/bsnet"
	"github.com/ipfs/boxo/blockservice"
	"github.com/ipfs/boxo/blockstore"
	"github.com/ipfs/boxo/ipld/merkledag"
	ds "github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	crdt "github.com/ipfs/go-ds-crdt"
	leveldb "github.com/ipfs/go-ds-leveldb"
	dht "github.com/libp2p/go-libp2p-kad-dht"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/routing"
	"github.com/libp2p/go-libp2p/p2p/net/conngater"
)

type settings struct {
	seed        string
	dir         string
	listen      string
	topic       string
	swarmKey    string
	dht         bool
	dial        string
	rebroadcast time.Duration
	dagTimeout  time.Duration
}

// peer is one full replica: host, gossip, bitswap, DAG service, engine.
type peer struct {
	host     host.Host
	gate     *conngater.BasicConnectionGater
	routing  *dht.IpfsDHT
	caster   *caster
	store    ds.Batching
	blocks   blockstore.Blockstore
	exchange *bitswap.Bitswap
	service  blockservice.BlockService
	engine   *crdt.Datastore
	log      *watched

	generation string
	totals     map[string]uint64
}

func openStore(dir string) (ds.Batching, error) {
	if dir == "" {
		return dssync.MutexWrap(ds.NewMapDatastore()), nil
	}
	disk, err := leveldb.NewDatastore(dir, nil)
	if err != nil {
		return nil, err
	}
	return dssync.MutexWrap(disk), nil
}

func newPeer(ctx context.Context, s settings, out *output) (*peer, error) {
	gate, err := conngater.NewBasicConnectionGater(nil)
	if err != nil {
		return nil, err
	}
	h, err := newHost(s, gate)
	if err != nil {
		return nil, err
	}
	p := &peer{host: h, gate: gate, log: newWatched(), totals: map[string]uint64{}}
	nonce := make([]byte, 16) // totals begin at 0 again: never under an old generation
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	p.generation = hex.EncodeToString(nonce)
	if s.dht {
		if p.routing, err = newDHT(h); err != nil {
			return nil, err
		}
	}
	if s.dial != "" {
		if err := connect(ctx, h, s.dial); err != nil {
			return nil, err
		}
	}
	if p.store, err = openStore(s.dir); err != nil {
		return nil, err
	}
	p.blocks = blockstore.NewIdStore(blockstore.NewBlockstore(p.store, blockstore.WriteThrough(true)))
	var finder routing.ContentDiscovery
	if p.routing != nil {
		finder = p.routing
	}
	p.exchange = bitswap.New(ctx, bsnet.NewFromIpfsHost(h), finder, p.blocks)
	for _, other := range h.Network().Peers() { // bitswap hears only of connections made after it starts
		p.exchange.PeerConnected(other)
	}
	p.service = blockservice.New(p.blocks, p.exchange)

	gossip, err := pubsub.NewGossipSub(ctx, h)
	if err != nil {
		return nil, err
	}
	if p.caster, err = newCaster(gossip, s.topic, out); err != nil {
		return nil, err
	}
	options := crdt.DefaultOptions()
	options.Logger = p.log
	options.RebroadcastInterval = s.rebroadcast
	options.DAGSyncerTimeout = s.dagTimeout
	options.MultiHeadProcessing = true
	p.engine, err = crdt.New(p.store, ds.NewKey(""), merkledag.NewDAGService(p.service), p.caster, options)
	return p, err
}

func (p *peer) close(cancel context.CancelFunc) error {
	err := p.engine.Close()
	cancel()
	p.exchange.Close()
	if p.routing != nil {
		p.routing.Close()
	}
	p.host.Close()
	p.store.Close()
	return err
}
