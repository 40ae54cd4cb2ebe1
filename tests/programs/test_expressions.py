"""Many small expressions on what is known only at run time, numbers and sizes, each against eager to the last bit.

An expression that is refused is refused with a code at capture; nothing else may fail.
"""

from __future__ import annotations

import importlib.util
import sys

import pytest
import torch
from programs.harness import same

import dync
from dync.errors import CaptureError

NUMBERS = """
i//j | i%j | divmod(i,j) | -i//j | i**2 | 2**abs(i) | i<<1 | i>>1 | ~i | i&j | i|j | i^j | i/j | f//g | f%g | f**2 | f**g | abs(f)**g
round(f) | round(f,1) | round(i,-1) | int(f) | int(-f) | float(i) | bool(i) | bool(f) | not f | i and j | i or j | f or 1.0
i if b else j | max(i,j) | min(f,g) | max(i,j,3) | max(f,0) | min(i,2.5) | max([i,j]) | max((i,j),key=abs) | abs(i) | abs(f) | -f
+f | i+True | b+1 | b and i | b == True | int(b) | b*f | i*f | i+f | i-f | f-i | i==j | i!=j | i<j<5 | 0<i<=j | i==f | f==g | f<g
f!=f | i is None | i in (1,2,3) | i in [j,5] | i not in {1:2} | i in range(0,6,2) | sum([i,j,1]) | sum((f,g)) | sum([i,f])
sorted([i,j]) | sorted([f,g,0.0],reverse=True) | math.sqrt(abs(f)) | math.exp(f) | math.floor(f) | math.ceil(f) | math.trunc(f)
math.log(abs(f)+1) | math.log2(abs(f)+1) | math.log(abs(f)+1,2) | math.pow(f,2) | math.sin(f) | math.atan2(f,g) | math.hypot(f,g)
math.isnan(f) | math.isinf(f) | math.copysign(f,g) | math.fmod(f,g) | math.gcd(i,j) | math.fabs(f) | math.pi*f | math.isclose(f,g)
math.prod([i,j]) | math.factorial(abs(i)) | math.comb(abs(i)+2,2) | math.inf if f>0 else -math.inf | f.is_integer()
f.as_integer_ratio() | i.bit_length() | (i).__add__(j) | int(i/j) if j else 0 | i//1.0 | f//1 | int(f//1) | int(f*10)/10
[10,20,30][abs(i)%3] | "abc"[abs(i)%3] | {0:"a",1:"b",2:"c"}[abs(i)%3] | "x"*abs(i) | [0]*abs(i) | list(range(abs(i)))
list(range(i,j)) | list(range(5,i,-1)) | len(range(i,j)) | [k*2 for k in range(abs(i)%4)] | [k for k in range(6) if k>i]
[k for k in range(6) if k%2==b] | {k:k*i for k in range(3)} | (lambda a,b=2:a*b)(i) | str(i) | str(f) | f"{i}" | f"{f:.2f}"
f"{i:03d}|{f:e}" | "%d" % i | "{}".format(j) | repr(f) | int("3")+i | complex(f,g) | bin(abs(i)) | chr(65+abs(i))
i.__class__.__name__ | type(i).__name__ | type(f) is float | isinstance(i,int) | isinstance(f,(int,float)) | isinstance(b,int) | i+x
x*f | x[abs(i)%3] | x[i%3:] | x[:abs(i)%3] | x[-1-abs(i)%3] | x>f | x.sum()*i | torch.full((2,),f) | torch.full((2,),i)
torch.zeros(abs(i)) | torch.arange(abs(i)) | torch.arange(0,1,abs(f)+0.3) | torch.linspace(0,f,3) | x.view(3,1).expand(3,abs(i)+1)
torch.tensor(i) | torch.tensor([i,j]) | torch.tensor([f,1]) | torch.tensor(f) | torch.tensor([i,f]) | torch.tensor(b) | x.roll(i)
x.repeat(abs(i)+1) | x.clamp(min=f) | x.pow(abs(i)) | x**f | torch.pow(2,x) | x.to(torch.float64)*f | x.half()*f | (x*3).int()+i
(x*3).int()*f | (x*3).int()//2 | (x*3).int()%3 | (x>0)+i | x.masked_fill(x>0,f) | torch.where(x>0,x,f) | torch.where(x>0,i,j)
x.add(x,alpha=f) | x.index_select(0,torch.tensor([abs(i)%3])) | x.topk(abs(i)%3+1)[0] | x.kthvalue(abs(i)%3+1)[0] | x.softmax(0)/f
x.norm(p=abs(i)+1) | F.dropout(x,0.0)*i | F.leaky_relu(x,abs(f)) | F.pad(x,(abs(i)%3,1)) | F.pad(x,(0,abs(i)%3),value=f)
x.unsqueeze(0).repeat(abs(i)+1,1).mean(0) | torch.eye(abs(i)+1) | torch.ones(2,abs(i)).sum() | torch.cat([x]*(abs(i)%3+1))
torch.stack([x*k for k in range(abs(i)%3+1)]) | x.split([abs(i)%3,3-abs(i)%3]) | x.tril(i) if x.dim()>1 else x.diag(i)
x.cumsum(0)[abs(i)%3].item()>f | any([i>2,f>0]) | all([i>2,f>0]) | next((k for k in range(5) if k>i),None)
min(range(5),key=lambda k:abs(k-i)) | [a+b2 for a,b2 in zip([i,j],[f,g])] | list(map(lambda v:v*2,[i,j]))
list(filter(lambda v:v>0,[i,j])) | dict(a=i,b=f) | {"k":(i,[f,None,b])} | list(enumerate([i,f])) | list(reversed([i,j]))
[i,j][::-1] | (i,)*2 | [*range(abs(i)%3),j] | (i>j)-(i<j) | (i+j)/2 | i/(j or 1) | f/(g or 1.0) | 1/f if f else 0.0 | i==0 or j/i>1
10**-abs(i) | 1e308*f*10 | float("inf")*f | f-f | 0.1+0.2+f
"""
"""Of two integers i and j, two floats f and g and a bool b, all read from tensors, and x: float32 [3]."""
SIZES = """
a.squeeze() | a.squeeze(0) | b.squeeze() | b.squeeze(1) | b.squeeze(0) | b[:,:1].squeeze() | b.squeeze((0,1)) | b[None].squeeze()
a*s | a+c | a*b.sum(1) | b*a[:,None] | b*s[:3] | a.expand(5) | a.expand_as(s) | torch.where(s>0,a,s) | torch.where(a>0,a,c) | a.max()
a.min() | a.argmax() | a.mean() | a.sum() | a.prod() | a.std() | a.var() | a.norm() | a.logsumexp(0) | a.softmax(0) | a.cumsum(0)
a.sort()[0] | a.topk(1)[0] | a.topk(2)[0] | a.kthvalue(1)[0] | a.median() | a.mode()[0] | a.unique() | a.flip(0) | a.roll(1,0)
a.diff() | a.aminmax() | b.max(0)[0] | b.max(1)[0] | b.argmax(0) | b.argmax(1) | b.mean(0) | b.std(0) | b.amax(0) | b.amax(1)
b.any(0) | b.all() | b.median(0)[0] | b.sum((0,1)) | torch.cat([a,c]) | torch.cat([b,b]) | torch.cat([a,s]) | torch.stack([a,a])
torch.stack([a,c]) | torch.vstack([a,s]) | torch.hstack([a,c]) | torch.outer(a,c) | torch.dot(a,c) | torch.dot(a,a) | a@a | b.t()@b
b@b.t() | b.t()@a | a@b | b@s[:3] | torch.einsum('i,ij->j',a,b) | torch.einsum('i,j->ij',a,c) | torch.bmm(b[None],b.t()[None])
torch.matmul(b[:,None],s[:3]) | torch.matmul(b[:,None,:],b[:,:,None])
torch.cdist(b,b) | torch.cdist(b,s[None,:3]) | a[0] | a[-1] | b[0] | b[-1,1] | a[1:] | a[:2] | a[:-1] | a[::2] | a[1:3] | b[1:,0]
a.narrow(0,0,1) | a.split(1)[0] | a.chunk(2)[0] | a.tensor_split(2)[0] | a.unbind(0)[0] | a.view(-1,1) | a.view(1,-1) | b.view(-1)
b.flatten() | b.reshape(3,-1) | b.reshape(-1,3,1) | a.reshape(5) | b.t().reshape(-1) | a.unfold(0,2,1) | a.repeat(2) | a.repeat(2,2)
a.tile(2) | a.repeat_interleave(2) | a.unsqueeze(0) | b.permute(1,0) | b.transpose(0,1).contiguous() | F.linear(b,w) | F.softmax(b,0)
F.layer_norm(b,(3,)) | F.normalize(b,dim=0) | F.pad(a,(1,1)) | F.one_hot(n,6) | F.cosine_similarity(b,b)
F.cross_entropy(b,n.clamp(max=2)) | F.mse_loss(a,c) | F.mse_loss(a,a) | F.avg_pool1d(a[None],2) | F.max_pool1d(a[None],2)
F.conv1d(a[None,None],w[:1,None]) | F.embedding(n,e) | F.group_norm(b[None].transpose(1,2),1)
F.scaled_dot_product_attention(b[None],b[None],b[None]) | F.nll_loss(b,n.clamp(max=2)) | F.kl_div(a,c) | F.log_softmax(a,0)
s.index_select(0,n) | s[n] | s.gather(0,n) | s.clone().index_add_(0,n,a) | s.clone().scatter_add_(0,n,a) | s.clone().scatter_(0,n,a)
s.clone().index_copy_(0,n,a) | s.clone().index_fill_(0,n,2.0) | s.clone().index_put_((n,),a) | s.clone().index_put_((n,),c)
torch.zeros(5).masked_scatter(s>0,a) | s.take(n) | torch.bincount(n,minlength=5) | torch.isin(n,m)
torch.searchsorted(s.sort()[0],a) | torch.bucketize(a,s.sort()[0]) | torch.nonzero(a>1) | torch.nonzero(a>1).squeeze()
torch.nonzero(a>1).squeeze(-1) | a[a>1] | b[a>1] | a.masked_fill(a>1,0.) | torch.tril(b) | torch.triu_indices(3,3)
torch.eye(3)[n.clamp(max=2)] | torch.meshgrid(a,c,indexing='ij')[0] | torch.cartesian_prod(a,c) | torch.combinations(a)
torch.diag(a) | torch.diag_embed(a) | torch.histc(a,4) | torch.allclose(a,a) | torch.equal(a,c) | a.item() | a.sum().item() | len(a)
a.tolist() | b.tolist() | [v for v in a] | bool(a.numel()) | a.shape[0] | tuple(a.shape) | a.size() | a.dim()
torch.broadcast_tensors(a,s)[0] | torch.broadcast_to(a,(5,)) | torch.lerp(a,s,0.5) | torch.addcmul(s,a,a)
torch.addmm(b,b,torch.eye(3)) | torch.addmm(a,torch.ones(5,2),torch.ones(2,5)) | torch.atan2(a,s) | torch.maximum(a,c)
a.clamp(max=s) | torch.logical_and(a,s) | a==s | a>=c | a.dist(c) | torch.linalg.norm(b) | torch.linalg.vector_norm(a)
torch.trapz(a) | torch.quantile(a,0.5) | torch.cov(b.t()) | torch.corrcoef(b.t()) | torch.block_diag(a,c)
"""
"""Of a: [A] and c: [C] (what masks leave), b: [A, 3], s: [5], n: the A places, m: the C places, w: [2, 3], e: [6, 2]."""
GROUPS = 12
READS = {
    "numbers": "i = n[0].item(); j = n[1].item(); f = r[0].item(); g = r[1].item(); b = (x.sum() > 0).item()",
    "sizes": "a = x[x > 0]; c = n[n > 0]; n = (x > 0).nonzero()[:, 0]; m = (c > 0).nonzero()[:, 0]; s = r; b = a[:, None] * torch.tensor("
             "[1., 2., -1.]); w = torch.tensor([[1., 2., 3.], [0., 1., -1.]]); e = torch.arange(12.).view(6, 2)",
}


def number_inputs():
    generator = torch.Generator().manual_seed(0)
    integers = [(2, 3), (-2, 3), (0, 2), (3, -2), (5, 0), (-4, -3), (1, 1)]
    floats = [(1.5, 2.25), (-0.5, 0.75), (2.5, -1.0), (0.0, 3.0), (-0.0, 0.0), (3.0, -0.3), (1e-3, 7.7)]
    for k, (i, f) in enumerate((i, f) for i in integers for f in floats):
        if k % 3 == 0:
            yield torch.randn(3, generator=generator), torch.tensor(i), torch.tensor(f)


def size_inputs():
    generator = torch.Generator().manual_seed(0)

    def positive(count):
        x = -torch.rand(5, generator=generator) - 0.1
        places = torch.randperm(5, generator=generator)[:count]
        x[places] = torch.rand(count, generator=generator) + 0.5
        return x

    for k in (2, 0, 1, 5):
        for j in (2, 0, 1, 5):
            yield positive(k), positive(j), torch.rand(5, generator=generator) + 0.5


def run(function, inputs):
    try:
        return function(*(t.clone() for t in inputs))
    except Exception as error:  # compared
        return error


def wrong(kind, expression, inputs, folder):
    """What is wrong with an expression; None where dync and eager agree on every input."""
    path = folder / "model.py"
    path.write_text(
        "import math\nimport torch\nimport torch.nn.functional as F\n\n\nclass Model(torch.nn.Module):\n"
        f"    def forward(self, x, n, r):\n        {READS[kind]}\n        return {expression}\n"
    )
    spec = importlib.util.spec_from_file_location(f"expression_{abs(hash((kind, expression)))}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    model = module.Model()
    try:
        compiled = dync.compile(model, inputs[0], backend="eager", host="python")
    except CaptureError as refused:
        assert refused.diagnostics[0].code.startswith("DY2") or refused.diagnostics[0].found.startswith("RuntimeError"), f"{refused}"
        return None
    finally:
        del sys.modules[spec.name]
    for given in inputs:
        want, got = run(model, given), run(compiled, given)
        if not same(want, got):
            return f"{expression} of {[t.tolist() for t in given]}: eager {want!r}, dync {got!r}"
    return None


@pytest.mark.filterwarnings("ignore")
@pytest.mark.part(6)
@pytest.mark.parametrize("group", range(GROUPS))
@pytest.mark.parametrize("kind", ["numbers", "sizes"])
def test_expressions(kind, group, tmp_path):
    written = NUMBERS if kind == "numbers" else SIZES
    expressions = [e for line in written.strip().splitlines() for e in line.split(" | ")]
    inputs = list(number_inputs() if kind == "numbers" else size_inputs())
    found = []
    for place, expression in enumerate(expressions[group::GROUPS]):
        folder = tmp_path / str(place)
        folder.mkdir()
        found.append(wrong(kind, expression, inputs, folder))
    assert not any(found), "\n".join(f for f in found if f)
