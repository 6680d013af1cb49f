// Bilinear sampling of multi-scale values on the CPU, forward and backward in one pass over the samples each.
// Equal in numbers to clickpose.model.sampling.sample_by_grid; ten times faster in training, and nothing is kept.
//
//   values    (B, S, H, C)        tokens of all levels, one level after another
//   shapes    h0, w0, h1, w1, ...
//   locations (B, Q, H, L, P, 2)  x, y in [0, 1] of the padded map, edge to edge
//   weights   (B, Q, H, L, P)
//
// Plain C at the border, so that it compiles in seconds and with any PyTorch.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <thread>
#include <vector>

namespace {

struct Sizes {
  int64_t batch, tokens, heads, channels, queries, levels, points;
};

struct Level {
  int64_t height, width, first_token;
};

std::vector<Level> read_levels(const int64_t* shapes, int64_t count) {
  std::vector<Level> levels;
  int64_t first_token = 0;
  for (int64_t i = 0; i < count; ++i) {
    levels.push_back({shapes[2 * i], shapes[2 * i + 1], first_token});
    first_token += shapes[2 * i] * shapes[2 * i + 1];
  }
  return levels;
}

// The four cells around a sample: where each lies and how much of it the sample takes, nothing of those outside.
struct Corners {
  int64_t token[4];
  float share[4], slope_x[4], slope_y[4];  // share and its derivatives by x and y, in cells
};

inline bool find_corners(float x_norm, float y_norm, const Level& level, Corners& corners) {
  const float x = x_norm * level.width - 0.5f, y = y_norm * level.height - 0.5f;
  if (!(x > -1 && y > -1 && x < level.width && y < level.height)) return false;  // NaN is nowhere
  const int64_t left = static_cast<int64_t>(x + 1) - 1, top = static_cast<int64_t>(y + 1) - 1;
  const float fx = x - left, fy = y - top;
  const float inside_x[2] = {left >= 0 ? 1.f : 0.f, left + 1 < level.width ? 1.f : 0.f};
  const float inside_y[2] = {top >= 0 ? 1.f : 0.f, top + 1 < level.height ? 1.f : 0.f};
  const int64_t columns[2] = {std::max<int64_t>(left, 0), std::min(left + 1, level.width - 1)};
  const int64_t rows[2] = {std::max<int64_t>(top, 0), std::min(top + 1, level.height - 1)};
  const float sx[2] = {1 - fx, fx}, sy[2] = {1 - fy, fy};
  for (int c = 0; c < 4; ++c) {
    const int dx = c & 1, dy = c >> 1;
    const float inside = inside_x[dx] * inside_y[dy];
    corners.token[c] = level.first_token + rows[dy] * level.width + columns[dx];
    corners.share[c] = inside * sx[dx] * sy[dy];
    corners.slope_x[c] = inside * (dx ? sy[dy] : -sy[dy]);
    corners.slope_y[c] = inside * (dy ? sx[dx] : -sx[dx]);
  }
  return true;
}

struct Inputs {
  const float *values, *locations, *weights;
};

struct Gradients {
  const float* output;
  float *values, *locations, *weights;
};

// A head's values lie far apart, and would share a few sets of the cache: it works on a copy where they lie together.
std::vector<float> gather_head(const float* head, const Sizes& n) {
  std::vector<float> together(n.tokens * n.channels);
  for (int64_t s = 0; s < n.tokens; ++s) {
    std::copy_n(head + s * n.heads * n.channels, n.channels, together.data() + s * n.channels);
  }
  return together;
}

// C is the number of channels where the compiler knows it, or 0.
template <int64_t C>
void sample_head(const Inputs& in, float* output, const Sizes& n, const std::vector<Level>& levels, int64_t b,
                 int64_t h) {
  const int64_t channels = C ? C : n.channels;
  const auto values = gather_head(in.values + (b * n.tokens * n.heads + h) * channels, n);
  Corners corners;
  for (int64_t q = 0; q < n.queries; ++q) {
    const int64_t row = (b * n.queries + q) * n.heads + h;
    float* __restrict sum = output + row * channels;
    std::fill_n(sum, channels, 0.f);
    int64_t i = row * n.levels * n.points;
    for (const Level& level : levels) {
      for (int64_t point = 0; point < n.points; ++point, ++i) {
        if (!find_corners(in.locations[2 * i], in.locations[2 * i + 1], level, corners)) continue;
        for (int c = 0; c < 4; ++c) {
          const float share = corners.share[c] * in.weights[i];
          const float* __restrict cell = values.data() + corners.token[c] * channels;
          for (int64_t d = 0; d < channels; ++d) sum[d] += share * cell[d];
        }
      }
    }
  }
}

template <int64_t C>
void differentiate_head(const Inputs& in, const Gradients& grad, const Sizes& n, const std::vector<Level>& levels,
                        int64_t b, int64_t h) {
  const int64_t channels = C ? C : n.channels, stride = n.heads * channels, first = (b * n.tokens * n.heads + h) * channels;
  const auto values = gather_head(in.values + first, n);
  std::vector<float> grad_values(n.tokens * channels);
  Corners corners;
  for (int64_t q = 0; q < n.queries; ++q) {
    const int64_t row = (b * n.queries + q) * n.heads + h;
    const float* __restrict grad_sum = grad.output + row * channels;
    int64_t i = row * n.levels * n.points;
    for (const Level& level : levels) {
      for (int64_t point = 0; point < n.points; ++point, ++i) {
        float by_weight = 0, by_x = 0, by_y = 0;
        const bool inside = find_corners(in.locations[2 * i], in.locations[2 * i + 1], level, corners);
        for (int c = 0; inside && c < 4; ++c) {
          const float share = corners.share[c] * in.weights[i];
          const float* __restrict cell = values.data() + corners.token[c] * channels;
          float* __restrict grad_cell = grad_values.data() + corners.token[c] * channels;
          float dot = 0;
          for (int64_t d = 0; d < channels; ++d) {
            dot += grad_sum[d] * cell[d];
            grad_cell[d] += share * grad_sum[d];
          }
          by_weight += corners.share[c] * dot;
          by_x += corners.slope_x[c] * dot;
          by_y += corners.slope_y[c] * dot;
        }
        grad.weights[i] = by_weight;
        grad.locations[2 * i] = by_x * in.weights[i] * level.width;
        grad.locations[2 * i + 1] = by_y * in.weights[i] * level.height;
      }
    }
  }
  for (int64_t s = 0; s < n.tokens; ++s) {
    std::copy_n(grad_values.data() + s * channels, channels, grad.values + first + s * stride);
  }
}

// One (picture, head) pair is one task, so that no two threads ever write to the same gradient.
template <typename Task>
void for_each_head(const Sizes& n, int64_t num_threads, const Task& task) {
  const int64_t heads = n.batch * n.heads;
  num_threads = std::max<int64_t>(1, std::min(num_threads, heads));
  const auto share = [&](int64_t thread) {
    for (int64_t i = heads * thread / num_threads; i < heads * (thread + 1) / num_threads; ++i) {
      task(i / n.heads, i % n.heads);
    }
  };
  std::vector<std::thread> helpers;
  for (int64_t thread = 1; thread < num_threads; ++thread) helpers.emplace_back(share, thread);
  share(0);
  for (auto& helper : helpers) helper.join();
}

}  // namespace

extern "C" void sample_forward(const Sizes* n, const int64_t* shapes, const Inputs* in, float* output,
                               int64_t num_threads) {
  const auto levels = read_levels(shapes, n->levels);
  const auto head = n->channels == 32 ? sample_head<32> : n->channels == 16 ? sample_head<16> : sample_head<0>;
  for_each_head(*n, num_threads, [&](int64_t b, int64_t h) { head(*in, output, *n, levels, b, h); });
}

extern "C" void sample_backward(const Sizes* n, const int64_t* shapes, const Inputs* in, const Gradients* grad,
                                int64_t num_threads) {
  const auto levels = read_levels(shapes, n->levels);
  const auto head = n->channels == 32   ? differentiate_head<32>
                    : n->channels == 16 ? differentiate_head<16>
                                        : differentiate_head<0>;
  for_each_head(*n, num_threads, [&](int64_t b, int64_t h) { head(*in, *grad, *n, levels, b, h); });
}
