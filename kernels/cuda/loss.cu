// The losses. A loss is one number in the memory of the GPU, and its gradient `dloss` another: neither is ever
// brought to the CPU. A sum over all is made by two kernels: the first leaves a part of it for each row or block, and
// `mean` adds the parts.
#include "each.cuh"
#include "rows.cuh"

// One block: loss = sum of parts / divisor.
extern "C" __global__ void __launch_bounds__(1024) mean(int count, const wide* __restrict__ parts, wide divisor,
                                                        real* __restrict__ loss) {
  wide total = 0;
  ALONG(i, count) total += parts[i];
  total = over_row<Sum>(total);
  if (threadIdx.x == 0) *loss = total / divisor;
}

// The target is a class for each row or, where `classes` is null, a row for each row. costs: (N,), p: (N, K).
extern "C" __global__ void cross_entropy_forward(int N, int K, const real* __restrict__ logits,
                                                 const long long* __restrict__ classes,
                                                 const real* __restrict__ rows, wide* __restrict__ costs,
                                                 real* __restrict__ p) {
  int n = ROW;
  if (n >= N) return;
  logits += n * K, p += n * K;
  Exponentials row = exponentials(K, logits);
  wide scale = 1 / row.total, logarithm = log(row.total), cost = 0;
  along(K, p, [=](wide x) { return exp(x - row.largest) * scale; }, logits);
  if (classes) {
    cost = logarithm - (logits[classes[n]] - row.largest);
  } else {
    ALONG(k, K)
      if (wide target = rows[n * K + k]; target != 0)
        cost += target * (logarithm - (logits[k] - row.largest));
    cost = over_row<Sum>(cost);
  }
  if (threadIdx.x == 0) costs[n] = cost;
}

extern "C" __global__ void cross_entropy_backward(int N, int K, const real* __restrict__ dloss,
                                                  const real* __restrict__ p, const long long* __restrict__ classes,
                                                  const real* __restrict__ rows, real* __restrict__ dlogits) {
  int n = ROW;
  if (n >= N) return;
  p += n * K, dlogits += n * K;
  wide factor = wide(*dloss) / N;
  int right = classes ? classes[n] : 0;
  ALONG(k, K) {
    wide target = classes ? wide(k == right) : wide(rows[n * K + k]);
    dlogits[k] = (p[k] - target) * factor;
  }
}

// Each block has a share of the elements, neighbouring ones, and leaves the sum of (y - target)^2 over them.
extern "C" __global__ void squared_error_forward(int n, const real* __restrict__ y, const real* __restrict__ target,
                                                 int share, wide* __restrict__ parts) {
  int start = blockIdx.x * share, count = min(share, n - start);
  y += start, target += start;
  wide total = 0;
  ALONG(i, count) {
    wide difference = wide(y[i]) - wide(target[i]);
    total += difference * difference;
  }
  total = over_row<Sum>(total);
  if (threadIdx.x == 0) parts[blockIdx.x] = total;
}

// dy = dloss * factor * (y - target)
extern "C" __global__ void squared_error_backward(int n, const real* __restrict__ y, const real* __restrict__ target,
                                                  wide factor, const real* __restrict__ dloss,
                                                  real* __restrict__ dy) {
  wide scale = wide(*dloss) * factor;
  each(n, dy, [=](wide y, wide target) { return (y - target) * scale; }, y, target);
}
