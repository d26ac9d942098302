# ruff: noqa
"""Screening of recipes at a small token budget, with variants that the library does not have.

`python -m bench.screening bs=8 L=4 elr=0.1`; docs/recipe.md has the log. It is here so that the
log's commands can be run at this commit; the library has what won.
"""

import os, sys, json, time, math
import ctypes

m = ctypes.CDLL(None).mallopt
m(-4, 0)
m(-1, 2**31 - 1)
import numpy as np, torch, torch.nn.functional as F
from torch import nn


@torch.compile(fullgraph=True, dynamic=False)
def _ce_chunk(logits, targets, scale):
    # logits (R,V) bf16 -> loss (R,) fp32, grad (R,V) bf16
    x = logits.float()
    lse = torch.logsumexp(x, -1, keepdim=True)
    cols = torch.arange(x.shape[1])
    onehot = cols[None, :] == targets[:, None]
    loss = lse.squeeze(1) - x.gather(1, targets[:, None]).squeeze(1)
    g = (torch.exp(x - lse) - onehot.to(x.dtype)) * scale
    return loss, g.to(logits.dtype)


class LinearCE(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, targets, rows, vocab):
        # x (N,C), w (V,C) ; mean CE
        dt = torch.bfloat16
        n = len(x)
        xb, wb = x.to(dt), w.to(dt)
        dx = torch.empty_like(xb)
        dw = torch.zeros(w.shape, dtype=torch.float32)
        total = torch.zeros((), dtype=torch.float64)
        for i in range(0, n, rows):
            xs, ts = xb[i : i + rows], targets[i : i + rows]
            logits = xs @ wb.t()
            loss, g = _ce_chunk(logits, ts, 1.0 / n)
            total += loss.double().sum()
            torch.mm(g, wb, out=dx[i : i + rows])
            dw += g.t() @ xs
        ctx.save_for_backward(dx.to(x.dtype), dw)
        return (total / n).float()

    @staticmethod
    def backward(ctx, gy):
        dx, dw = ctx.saved_tensors
        return dx * gy, dw * gy, None, None, None


def rms(x):
    return F.rms_norm(x, (x.shape[-1],), eps=1e-6)


def rope(x, cos, sin):
    # x (B,T,H,D), HF half-split
    d = x.shape[-1] // 2
    a, b = x[..., :d], x[..., d:]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


torch.set_num_threads(1)
A = dict(
    name="",
    tokens=819200,
    bs=16,
    T=256,
    windows="poem",
    sep=1,
    opt="muon",
    mlr=0.02,
    elr=0.01,
    hlr=0.003,
    slr=0.01,
    mwd=0.0,
    ewd=0.0,
    warm=0.05,
    sched="linear",
    b1=0.9,
    b2=0.95,
    mom=0.95,
    ema=0.0,
    seed=1,
    adj="original",
    cool=1.0,
    minlr=0.0,
    nesterov=1,
    evalw=256,
)
M = dict(
    C=256,
    L=8,
    H=4,
    D=64,
    K=4,
    F=640,
    mlp="swiglu",
    qknorm=True,
    tie=False,
    embnorm=False,
    emb_std=0.02,
    head0=0,
    head_std=0.02,
    theta=10000.0,
)
for a in sys.argv[1:]:
    k, v = a.split("=")
    d = A if k in A else M
    assert k in d, k
    d[k] = type(d[k])(int(v)) if isinstance(d[k], bool) else type(d[k])(v)


class Block(nn.Module):
    def __init__(s, o):
        super().__init__()
        C, H, D, K, Fh = o["C"], o["H"], o["D"], o["K"], o["F"]
        s.o = o
        L = lambda i, j: nn.Linear(i, j, bias=False)
        s.q, s.k, s.v, s.proj = L(C, H * D), L(C, K * D), L(C, K * D), L(H * D, C)
        if o["mlp"] == "swiglu":
            s.gate = L(C, Fh)
        s.up, s.out = L(C, Fh), L(Fh, C)
        s.n1 = nn.Parameter(torch.ones(C))
        s.n2 = nn.Parameter(torch.ones(C))
        s.qn = nn.Parameter(torch.ones(D))
        s.kn = nn.Parameter(torch.ones(D))

    def forward(s, x, cos, sin):
        o = s.o
        B, T, C = x.shape
        H, D, K = o["H"], o["D"], o["K"]
        h = F.rms_norm(x, (C,), s.n1, 1e-6)
        q, k, v = s.q(h).view(B, T, H, D), s.k(h).view(B, T, K, D), s.v(h).view(B, T, K, D)
        if o["qknorm"]:
            q = F.rms_norm(q, (D,), s.qn, 1e-6)
            k = F.rms_norm(k, (D,), s.kn, 1e-6)
        q, k = rope(q, cos, sin).to(v.dtype), rope(k, cos, sin).to(v.dtype)
        y = F.scaled_dot_product_attention(
            q.transpose(1, 2),
            k.transpose(1, 2),
            v.transpose(1, 2),
            is_causal=True,
            enable_gqa=H != K,
        )
        x = x + s.proj(y.transpose(1, 2).reshape(B, T, H * D))
        h = F.rms_norm(x, (C,), s.n2, 1e-6)
        h = F.silu(s.gate(h)) * s.up(h) if o["mlp"] == "swiglu" else F.relu(s.up(h)).square()
        return x + s.out(h)


class Net(nn.Module):
    def __init__(s, V, o):
        super().__init__()
        s.o = o
        g = torch.Generator().manual_seed(A["seed"])
        s.emb = nn.Embedding(V, o["C"])
        s.blocks = nn.ModuleList(Block(o) for _ in range(o["L"]))
        s.nf = nn.Parameter(torch.ones(o["C"]))
        nn.init.normal_(s.emb.weight, std=o["emb_std"], generator=g)
        s.head = None
        if not o["tie"]:
            s.head = nn.Linear(o["C"], V, bias=False)
            nn.init.zeros_(s.head.weight) if o["head0"] else nn.init.normal_(
                s.head.weight, std=o["head_std"], generator=g
            )
        for b in s.blocks:
            for m in [x for x in b.children()]:
                r = (3 / m.in_features) ** 0.5
                nn.init.uniform_(m.weight, -r, r, generator=g)
            nn.init.zeros_(b.proj.weight)
            nn.init.zeros_(b.out.weight)
        f = 1 / o["theta"] ** (torch.arange(0, o["D"], 2) / o["D"])
        a = torch.outer(torch.arange(A["T"]), f)
        s.register_buffer("cos", a.cos()[:, None])
        s.register_buffer("sin", a.sin()[:, None])

    def hidden(s, idx):
        x = s.emb(idx)
        if s.o["embnorm"]:
            x = rms(x)
        for b in s.blocks:
            x = b(x, s.cos, s.sin)
        return F.rms_norm(x, (s.o["C"],), s.nf, 1e-6)

    @property
    def hw(s):
        return s.emb.weight if s.head is None else s.head.weight


R = "data/train/"
tok = np.load(R + "tokens.npy")
off = np.load(R + "offsets.npy")
if tok[0] == 0:  # separated by the encode stage
    off, tok = np.concatenate([[0], np.cumsum(np.diff(off) - 1)]), tok[tok != 0]
poems = np.arange(len(off) - 1)
isdev = poems % 20 == 10


def stream(ids):
    parts = []
    for i in ids:
        if A["sep"]:
            parts.append(np.zeros(1, tok.dtype))
        parts.append(tok[off[i] : off[i + 1]])
    parts.append(np.zeros(1, tok.dtype))
    return np.concatenate(parts)


V = 11868
dev = stream(poems[isdev])
chars = (dev != 0).sum()
T = A["T"]
rng = np.random.default_rng(A["seed"])
trn = poems[~isdev]
if A["windows"] == "shuffle":
    trn = rng.permutation(trn)
tr = stream(trn)
heads = np.flatnonzero(tr == 0)
heads = heads[heads < len(tr) - T - 1]
steps = A["tokens"] // (A["bs"] * T)
if A["windows"] == "poem":
    # no overlap if possible: random permutation of poem starts
    starts = (
        rng.permutation(heads)[: steps * A["bs"]]
        if len(heads) >= steps * A["bs"]
        else rng.choice(heads, steps * A["bs"])
    )
elif A["windows"] == "poem2":
    # tile stream by windows which start at the poem in which the last ended
    s = []
    p = 0
    hs = heads
    while p < len(hs):
        s.append(hs[p])
        e = hs[p] + T
        q = np.searchsorted(hs, e, side="right") - 1
        p = max(q, p + 1) if q < len(hs) else len(hs)
        if q == len(hs) - 1:
            break
    starts = rng.permutation(np.array(s))
    reps = -(-steps * A["bs"] // len(starts))
    starts = np.tile(starts, reps)[: steps * A["bs"]]
elif A["windows"] in ("random", "shuffle"):
    starts = rng.integers(0, len(tr) - T - 1, steps * A["bs"])
torch.manual_seed(A["seed"])
net = Net(V, M)
hidden = torch.compile(net.hidden, dynamic=False)
P = sum(p.numel() for p in net.parameters())
mats = [p for b in net.blocks for p in b.parameters() if p.ndim == 2]
vecs = [p for p in net.parameters() if p.ndim == 1]
opts = []
aw = lambda ps, lr, wd=0.0: torch.optim.AdamW(
    ps, lr=lr, weight_decay=wd, betas=(A["b1"], A["b2"]), fused=True, eps=1e-10
)
if A["opt"] == "muon":
    opts.append(
        torch.optim.Muon(
            mats,
            lr=A["mlr"],
            weight_decay=A["mwd"],
            momentum=A["mom"],
            nesterov=bool(A["nesterov"]),
            adjust_lr_fn=A["adj"],
        )
    )
else:
    opts.append(aw(mats, A["mlr"], A["mwd"]))
opts.append(aw([net.emb.weight], A["elr"], A["ewd"]))
if net.head is not None:
    opts.append(aw([net.head.weight], A["hlr"], A["ewd"]))
opts.append(aw(vecs, A["slr"]))
base = [[g["lr"] for g in o.param_groups] for o in opts]


def mult(i):
    w = max(1, int(A["warm"] * steps))
    if i < w:
        return (i + 1) / w
    x = (i - w) / max(1, steps - w)  # 0..1
    if A["sched"] == "const":
        return 1
    if A["sched"] == "cos":
        return A["minlr"] + (1 - A["minlr"]) * 0.5 * (1 + math.cos(math.pi * x))
    c = A["cool"]
    return 1.0 if x < 1 - c else A["minlr"] + (1 - A["minlr"]) * (1 - x) / c if c else 1


rows = 1024


def evaluate():
    st = np.linspace(0, len(dev) - T - 2, A["evalw"]).astype(int)
    nats = 0
    n = 0
    with torch.no_grad():
        for i in range(0, len(st), 16):
            w = dev[st[i : i + 16, None] + np.arange(T + 1)].astype(np.int64)
            x = torch.from_numpy(w)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                h = hidden(x[:, :-1]).to(torch.bfloat16).flatten(0, 1)
                wb = net.hw.to(torch.bfloat16)
                t = x[:, 1:].clone()
                t[:, : min(64, T // 2)] = -100
                t = t.flatten()
                for j in range(0, len(h), 1024):
                    nats += F.cross_entropy(
                        (h[j : j + 1024] @ wb.t()).float(), t[j : j + 1024], reduction="sum"
                    ).item()
            n += (w[:, 1 + min(64, T // 2) :] != 0).sum()
    return nats / n


ema = None
t0 = time.time()
curve = []
run = 0
for i in range(steps):
    for o, bl in zip(opts, base):
        for g, l in zip(o.param_groups, bl):
            g["lr"] = l * mult(i)
    tot = 0
    mb = min(16, A["bs"])
    for j in range(0, A["bs"], mb):
        s = starts[i * A["bs"] + j : i * A["bs"] + j + mb]
        x = torch.from_numpy(tr[s[:, None] + np.arange(T + 1)].astype(np.int64))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            h = hidden(x[:, :-1])
        loss = LinearCE.apply(h.flatten(0, 1), net.hw, x[:, 1:].flatten(), rows, V) * (mb / A["bs"])
        loss.backward()
        tot += loss.item()
    for o in opts:
        o.step()
        o.zero_grad()
    if A["ema"]:
        with torch.no_grad():
            ps = list(net.parameters())
            if ema is None:
                ema = [p.clone() for p in ps]
            else:
                torch._foreach_lerp_(ema, ps, 1 - A["ema"])
    run = tot if i == 0 else 0.95 * run + 0.05 * tot
    if i % max(1, steps // 8) == 0:
        curve.append(round(run, 3))
        print(i, round(run, 3), file=sys.stderr, flush=True)
d = evaluate()
res = dict(
    args=" ".join(sys.argv[1:]),
    dev=round(float(d), 4),
    train=round(run, 3),
    P=P,
    steps=steps,
    sec=round(time.time() - t0),
    curve=curve,
)
if ema:
    with torch.no_grad():
        for p, e in zip(net.parameters(), ema):
            p.copy_(e)
    res["dev_ema"] = round(float(evaluate()), 4)
print(json.dumps(res), flush=True)
