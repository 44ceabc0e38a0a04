package main

import (
	"context"
	"encoding/hex"

	crdt "github.com/ipfs/go-ds-crdt"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
)

// caster carries the engine's broadcasts over one gossip topic and reports each payload.
type caster struct {
	topic *pubsub.Topic
	sub   *pubsub.Subscription
	out   *output
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
	err := c.topic.Publish(ctx, data)
	c.out.event("sent", map[string]any{"data": hex.EncodeToString(data), "err": text(err)})
	return err
}

func (c *caster) Next(ctx context.Context) ([]byte, error) {
	message, err := c.sub.Next(ctx)
	if err != nil {
		return nil, crdt.ErrNoMoreBroadcast
	}
	c.out.event("received", map[string]any{
		"from": message.GetFrom().String(), "via": message.ReceivedFrom.String(), "data": hex.EncodeToString(message.Data),
	})
	return message.Data, nil
}
