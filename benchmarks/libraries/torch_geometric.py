"""Graph networks of torch_geometric, on one small graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor, nn
from torch_geometric.nn import (
    GAT,
    GCN,
    GIN,
    LINKX,
    MLP,
    PMLP,
    PNA,
    AttentiveFP,
    EdgeCNN,
    GENConv,
    GINConv,
    GPSConv,
    GraphSAGE,
    PointNetConv,
    SchNet,
)

from benchmarks.libraries.library_model import LibraryModel

_NODES: Final = 12
_EDGES: Final = 30
_SIZES: Final = {"in_channels": 8, "hidden_channels": 16, "num_layers": 3, "out_channels": 4}
_PER_NODE: Final = "what gathers from the neighbours keeps the hidden units apart, so layers in a row are MLPs, too"


def _graph() -> dict[str, Tensor]:
    return {"x": torch.randn(_NODES, 8), "edge_index": torch.randint(0, _NODES, (2, _EDGES))}


def _wide_graph() -> dict[str, Tensor]:
    return _graph() | {"x": torch.randn(_NODES, 16)}


def _molecule() -> dict[str, Tensor]:
    return {"z": torch.randint(1, 10, (_NODES,)), "pos": torch.randn(_NODES, 3)}


def _featured_molecule() -> dict[str, Tensor]:
    return _graph() | {"edge_attr": torch.randn(_EDGES, 5), "batch": torch.arange(_NODES) // 6}


def _points() -> dict[str, Tensor]:
    graph = _graph()
    return {"x": graph["x"], "pos": torch.randn(_NODES, 3), "edge_index": graph["edge_index"]}


class _EveryPair(nn.Module):
    """The neighbours of an atom are all others; the default needs a compiled package."""

    def forward(self, pos: Tensor, batch: Tensor) -> tuple[Tensor, Tensor]:
        atoms = torch.arange(pos.size(0))
        pairs = torch.cartesian_prod(atoms, atoms).T
        return pairs, (pos[pairs[0]] - pos[pairs[1]]).norm(dim=-1)


def _pna() -> nn.Module:
    scaling = {"aggregators": ["mean", "max", "std"], "scalers": ["identity", "amplification"]}
    depths = {"towers": 2, "pre_layers": 2, "post_layers": 2}
    return PNA(**_SIZES | {"num_layers": 2, "hidden_channels": 8}, deg=torch.tensor([1, 4, 5, 2]), **scaling, **depths)


def _plain(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(width, 32), nn.ReLU(), nn.Linear(32, 16))


MODELS: Final[Mapping[str, LibraryModel]] = {
    "GCN": LibraryModel(lambda: GCN(**_SIZES), _graph, 2, _PER_NODE),
    "GCN_batch_norm": LibraryModel(lambda: GCN(**_SIZES, norm="batch_norm", dropout=0.1), _graph, 2, _PER_NODE),
    "GraphSAGE": LibraryModel(
        lambda: GraphSAGE(**_SIZES), _graph, 0, "two linears make the hidden units, and two read them"
    ),
    "GIN": LibraryModel(lambda: GIN(**_SIZES), _graph, 5, f"one in each of three layers; {_PER_NODE}"),
    "GIN_jumping": LibraryModel(
        lambda: GIN(**_SIZES, jk="cat", norm="layer_norm"),
        _graph,
        3,
        "one in each layer; what stands between the layers is joined in the end",
    ),
    "GAT": LibraryModel(
        lambda: GAT(**_SIZES, heads=4), _graph, 0, "the values ahead of each activation make attention scores, too"
    ),
    "GATv2": LibraryModel(
        lambda: GAT(**_SIZES, heads=4, v2=True),
        _graph,
        0,
        "the values ahead of each activation make attention scores, too",
    ),
    "PNA": LibraryModel(
        _pna, _graph, 8, "two towers of two MLPs in each of two layers; two linears read what is between the layers"
    ),
    "EdgeCNN": LibraryModel(
        lambda: EdgeCNN(**_SIZES), _graph, 3, "one in each layer; what is between the layers is joined with itself"
    ),
    "MLP": LibraryModel(
        lambda: MLP([8, 16, 16, 4]), lambda: {"x": torch.randn(_NODES, 8)}, 2, "one activation module for both"
    ),
    "PMLP": LibraryModel(lambda: PMLP(**_SIZES), _graph, 2, "the code reads the weights of its linears"),
    "LINKX": LibraryModel(
        lambda: LINKX(
            num_nodes=_NODES,
            **_SIZES | {"num_layers": 2},
            num_edge_layers=2,
            num_node_layers=2,
        ),
        _graph,
        3,
        "the first linear of the edges maps the sparse adjacency matrix; one activation acts on a sum",
    ),
    "GENConv": LibraryModel(
        lambda: GENConv(8, 16), _graph, 1, "the activation of the messages is summed with another linear"
    ),
    "GPSConv": LibraryModel(lambda: GPSConv(16, GINConv(_plain(16)), heads=4), _wide_graph, 2),
    "PointNetConv": LibraryModel(lambda: PointNetConv(MLP([11, 32, 16]), MLP([16, 32, 4])), _points, 2),
    "SchNet": LibraryModel(
        lambda: SchNet(
            hidden_channels=16, num_filters=16, num_interactions=2, num_gaussians=10, interaction_graph=_EveryPair()
        ),
        _molecule,
        5,
        "a filter network and an update in each of two blocks, and the head; softplus less a constant",
    ),
    "AttentiveFP": LibraryModel(
        lambda: AttentiveFP(8, 16, 4, edge_dim=5, num_layers=2, num_timesteps=2),
        _featured_molecule,
        0,
        "attention and recurrent cells stand on one side of each activation",
    ),
}
