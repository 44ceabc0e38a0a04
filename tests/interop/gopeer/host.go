package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"os"

	"github.com/libp2p/go-libp2p"
	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	corepeer "github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/pnet"
	"github.com/libp2p/go-libp2p/p2p/net/conngater"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
)

// identity derives an Ed25519 key from the seed text, or makes a random one.
func identity(seed string) (crypto.PrivKey, error) {
	if seed == "" {
		key, _, err := crypto.GenerateEd25519Key(rand.Reader)
		return key, err
	}
	sum := sha256.Sum256([]byte(seed))
	return crypto.UnmarshalEd25519PrivateKey(ed25519.NewKeyFromSeed(sum[:]))
}

// newHost speaks TCP and noise, behind a private network's key where one is given. The gate keeps blocked peers out.
func newHost(s settings, gate *conngater.BasicConnectionGater) (host.Host, error) {
	key, err := identity(s.seed)
	if err != nil {
		return nil, err
	}
	options := []libp2p.Option{
		libp2p.Identity(key),
		libp2p.Transport(tcp.NewTCPTransport),
		libp2p.Security(noise.ID, noise.New),
		libp2p.ListenAddrStrings(s.listen),
		libp2p.DisableRelay(),
		libp2p.ConnectionGater(gate),
	}
	if s.swarmKey != "" {
		text, err := os.ReadFile(s.swarmKey)
		if err != nil {
			return nil, err
		}
		psk, err := pnet.DecodeV1PSK(bytes.NewReader(text))
		if err != nil {
			return nil, err
		}
		options = append(options, libp2p.PrivateNetwork(psk))
	}
	return libp2p.New(options...)
}

// newDHT is a server from the start: on loopback nobody would ever call us publicly reachable.
func newDHT(h host.Host) (*dht.IpfsDHT, error) {
	return dht.New(h, dht.Mode(dht.ModeServer), dht.BootstrapPeers())
}

func connect(ctx context.Context, h host.Host, addr string) error {
	info, err := corepeer.AddrInfoFromString(addr)
	if err != nil {
		return err
	}
	return h.Connect(ctx, *info)
}

// cut ends the connections with a peer: once ("disconnect"), or until "unblock" lets them in again.
func (p *peer) cut(other corepeer.ID, how string) error {
	switch how {
	case "unblock":
		return p.gate.UnblockPeer(other)
	case "block":
		if err := p.gate.BlockPeer(other); err != nil {
			return err
		}
	}
	return p.host.Network().ClosePeer(other)
}
