package main

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"

	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
)

func (p *peer) subCounter(kind, key string) ds.Key {
	parts := []string{"/STATS", kind, ds.NewKey(key).String(), p.host.ID().String(), p.generation}
	return ds.NewKey(strings.Join(parts, "/"))
}

// step adds 1 to this generation's sub-counter n times: one write and one block each, as Warpnet does.
func (p *peer) step(ctx context.Context, kind, key string, n int) error {
	full := p.subCounter(kind, key)
	for range max(n, 1) {
		total := p.totals[full.String()] + 1
		if err := p.engine.Put(ctx, full, binary.BigEndian.AppendUint64(nil, total)); err != nil {
			return err
		}
		p.totals[full.String()] = total
	}
	return nil
}

// count adds increments and decrements to many keys in one commit.
func (p *peer) count(ctx context.Context, counts map[string][2]uint64) error {
	ops := []op{}
	totals := map[string]uint64{}
	for key, both := range counts {
		for i, kind := range []string{"incr", "decr"} {
			if both[i] == 0 {
				continue
			}
			full := p.subCounter(kind, key).String()
			totals[full] = p.totals[full] + both[i]
			value := binary.BigEndian.AppendUint64(nil, totals[full])
			ops = append(ops, op{Op: "put", Key: full, Value: hex.EncodeToString(value)})
		}
	}
	if err := p.batch(ctx, ops); err != nil {
		return err
	}
	for full, total := range totals {
		p.totals[full] = total
	}
	return nil
}

func (p *peer) batch(ctx context.Context, ops []op) error {
	batch, err := p.engine.Batch(ctx)
	if err != nil {
		return err
	}
	for _, o := range ops {
		switch o.Op {
		case "put":
			var value []byte
			if value, err = hex.DecodeString(o.Value); err == nil {
				err = batch.Put(ctx, ds.NewKey(o.Key), value)
			}
		case "delete":
			err = batch.Delete(ctx, ds.NewKey(o.Key))
		default:
			err = fmt.Errorf("unknown op %q", o.Op)
		}
		if err != nil {
			return err
		}
	}
	return batch.Commit(ctx)
}

// query gives what lies strictly below the prefix: key to value, as hex.
func (p *peer) query(ctx context.Context, prefix string) (map[string]string, error) {
	results, err := p.engine.Query(ctx, query.Query{Prefix: prefix})
	if err != nil {
		return nil, err
	}
	defer results.Close()
	entries := map[string]string{}
	for r := range results.Next() {
		if r.Error != nil {
			return nil, r.Error
		}
		entries[r.Key] = hex.EncodeToString(r.Value)
	}
	return entries, nil
}

// aggregated is increments less decrements below the key, never below 0.
func (p *peer) aggregated(ctx context.Context, key string) (uint64, error) {
	var sums [2]uint64
	for i, kind := range []string{"incr", "decr"} {
		entries, err := p.query(ctx, ds.NewKey("/STATS/"+kind+"/"+key).String())
		if err != nil {
			return 0, err
		}
		for _, value := range entries {
			if raw, err := hex.DecodeString(value); err == nil && len(raw) >= 8 {
				sums[i] += binary.BigEndian.Uint64(raw)
			}
		}
	}
	return sums[0] - min(sums[0], sums[1]), nil
}
