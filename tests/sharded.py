"""Zoos in shards, for their tests."""

from fabricated import fabricated_zoo, zoo_net

from nws import FIXED
from nws.zoo import Zoo, packing
from nws.zoo.shardfile import Shard

NETS = 12


def singles(zoo):
    return sorted(path.relative_to(zoo.path).as_posix() for path in (zoo.path / "nets").rglob("*.safetensors"))


def shards(zoo):
    return sorted(zoo.path.glob("shards/*/*.safetensors"))


def packed_zoo(path, nets_per_shard=5):
    zoo = fabricated_zoo(path)
    zoo.pack(nets_per_shard)
    return zoo


def half_packed_zoo(path):
    """Some nets in shards, some in files, one in both: what a call leaves that is killed in the middle."""
    zoo = fabricated_zoo(path)
    kept = {number: (zoo.path / zoo.index.loc[number, "path"]).read_bytes() for number in (0, 3, 4, 5, 9)}
    zoo.pack(7)
    for number, data in kept.items():
        if number != 9:
            (zoo.path / f"nets/000/{number:06d}.safetensors").write_bytes(data)
    for path_ in shards(zoo):  # the nets of the first shard but net 9 are now in files, too
        if 0 in Shard(path_):
            nets = [Shard(path_).packed(n) for n in Shard(path_).numbers if n not in (0, 3, 4)]
            path_.unlink()
            packing.write_shard(zoo.path, nets)
    return Zoo(zoo.path)


def many_at_once(path):
    zoo = Zoo.create(path, FIXED, seed=3, nets=NETS, images={"mnist": {"sha256": "ab"}}, epochs=8, limit=None)
    assert zoo.append_many(zoo_net(number) for number in range(NETS)) == NETS
    return zoo
