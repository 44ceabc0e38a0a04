package main

import (
	"context"
	"errors"
	"math/rand"
	"sync"
	"time"

	"github.com/ipfs/boxo/blockservice"
	blockfmt "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	corepeer "github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multihash"
	_ "github.com/multiformats/go-multihash/register/blake3"
)

// putBlock stores foreign bytes as a block and offers it to whoever wants it.
func (p *peer) putBlock(ctx context.Context, data []byte, codec, hash uint64) (string, error) {
	prefix := cid.Prefix{Version: 1, Codec: cid.DagProtobuf, MhType: multihash.SHA2_256, MhLength: -1}
	if codec != 0 {
		prefix.Codec = codec
	}
	if hash != 0 {
		prefix.MhType = hash
	}
	c, err := prefix.Sum(data)
	if err != nil {
		return "", err
	}
	block, err := blockfmt.NewBlockWithCid(data, c)
	if err != nil {
		return "", err
	}
	return c.String(), p.service.AddBlock(ctx, block)
}

// putRandom stores n blocks of size bytes that the seed decides.
func (p *peer) putRandom(ctx context.Context, r request) ([]string, error) {
	source := rand.New(rand.NewSource(r.Seed))
	cids := make([]string, r.N)
	for i := range cids {
		data := make([]byte, r.Size)
		source.Read(data)
		c, err := p.putBlock(ctx, data, r.Codec, r.Hash)
		if err != nil {
			return nil, err
		}
		cids[i] = c
	}
	return cids, nil
}

// fetch gets the blocks from the network (what is here already is not asked for), so many at a time.
func (p *peer) fetch(ctx context.Context, cids []cid.Cid, parallel int, session bool) (any, error) {
	getter := blockservice.BlockGetter(p.service)
	if session {
		getter = blockservice.NewSession(ctx, p.service)
	}
	var mu sync.Mutex
	var failed []error
	bytes, gap := 0, time.Duration(0)
	began := time.Now()
	last := began
	queue := make(chan cid.Cid)
	var workers sync.WaitGroup
	for range max(parallel, 1) {
		workers.Go(func() {
			for c := range queue {
				block, err := getter.GetBlock(ctx, c)
				mu.Lock()
				gap = max(gap, time.Since(last))
				last = time.Now()
				if err != nil {
					failed = append(failed, err)
				} else {
					bytes += len(block.RawData())
				}
				mu.Unlock()
			}
		})
	}
	for _, c := range cids {
		queue <- c
	}
	close(queue)
	workers.Wait()
	return map[string]any{
		"bytes": bytes, "seconds": time.Since(began).Seconds(), "gap": gap.Seconds(), "failed": len(failed),
	}, errors.Join(failed...)
}

var errNoDHT = errors.New("started without -dht")

func (p *peer) provide(ctx context.Context, cids []cid.Cid) error {
	if p.routing == nil {
		return errNoDHT
	}
	for _, c := range cids {
		if err := p.routing.Provide(ctx, c, true); err != nil {
			return err
		}
	}
	return nil
}

func (p *peer) providers(ctx context.Context, c cid.Cid) ([]corepeer.AddrInfo, error) {
	if p.routing == nil {
		return nil, errNoDHT
	}
	return p.routing.FindProviders(ctx, c)
}
