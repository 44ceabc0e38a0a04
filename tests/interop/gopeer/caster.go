package main

import (
	"context"
	"encoding/hex"
	"math/rand"
	"sync"

	crdt "github.com/ipfs/go-ds-crdt"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
)

// caster carries the engine's broadcasts over one gossip topic and reports each payload.
type caster struct {
	topic *pubsub.Topic
	sub   *pubsub.Subscription
	out   *output
	loss  loss
}

// loss takes payloads away between engine and topic, by a seeded chance: gossip, which would mend a loss of its own,
// knows nothing of it.
type loss struct {
	mu     sync.Mutex
	random *rand.Rand
	in     float64
	out    float64
	lost   int
}

func (l *loss) set(seed int64, in, out float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.random, l.in, l.out = rand.New(rand.NewSource(seed)), in, out
}

func (l *loss) takes(share func() float64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.random == nil || l.random.Float64() >= share() {
		return false
	}
	l.lost++
	return true
}

func newCaster(gossip *pubsub.PubSub, name string, out *output) (*caster, error) {
	topic, err := gossip.Join(name)
	if err != nil {
		return nil, err
	}
	sub, err := topic.Subscribe(pubsub.WithBufferSize(1024))
	return &caster{topic: topic, sub: sub, out: out}, err
}

func (c *caster) Broadcast(ctx context.Context, data []byte) error {
	if c.loss.takes(func() float64 { return c.loss.out }) {
		return nil
	}
	err := c.topic.Publish(ctx, data)
	c.out.event("sent", map[string]any{"data": hex.EncodeToString(data), "err": text(err)})
	return err
}

func (c *caster) Next(ctx context.Context) ([]byte, error) {
	for {
		message, err := c.sub.Next(ctx)
		if err != nil {
			return nil, crdt.ErrNoMoreBroadcast
		}
		if c.loss.takes(func() float64 { return c.loss.in }) {
			continue
		}
		c.out.event("received", map[string]any{
			"from": message.GetFrom().String(), "via": message.ReceivedFrom.String(), "data": hex.EncodeToString(message.Data),
		})
		return message.Data, nil
	}
}
