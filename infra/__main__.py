"""The cluster: its parts, each made of the stack's settings (Pulumi.<stack>.yaml) and of the parts it stands on."""

from sweepfleet.infra.cluster import Firewall, Head, KeyPair, Network, Setup, Storage, Workers, export

setup = Setup.read()

network = Network(setup)
firewall = Firewall(setup, network)
key = KeyPair(setup)
storage = Storage(setup)
workers = Workers(setup, network, firewall, key, storage)
head = Head(setup, network, firewall, key, storage, workers)

export(setup, network, firewall, storage, workers, head)

# Resources of your own go here. With opts=setup.opts they have the stack's region, account and tags.
