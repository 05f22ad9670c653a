/*
 * The layers of trimtab's networks, and what runs them one after the other. Everything that differs from model to
 * model is data: steps, constants and sizes. So this file also makes one WebAssembly module for all models.
 *
 * Pictures lie row by row, the channels of a pixel side by side. A number that flows from step to step is a float or a
 * code: one byte, which stands for scale * (code - zero).
 *
 * C99. Needs no library, though compilers may put memcpy and memset in the place of loops. Where they offer vectors
 * (GCC, Clang), products are written with these, unless TRIMTAB_PLAIN is defined.
 */

#if defined(__FLT_EVAL_METHOD__) && __FLT_EVAL_METHOD__ == 2
#error "floats must be rounded to 32 bits after each operation: on 32-bit x86 compile with -msse2 -mfpmath=sse"
#endif

#if defined(__FAST_MATH__)
#error "rounding relies on the order of additions: compile without -ffast-math"
#endif

enum {
    PANEL = 16,       /* output channels whose weights lie side by side */
    QUAD = 4,         /* codes that are multiplied and summed at once */
    MOST_ROWS = 8,    /* of a tile of sums */
    MOST_COLUMNS = 32
};

/* What a step does. trimtab writes these numbers, so their order stays. */
enum {
    PIXELS,           /* the picture's bytes, (byte - mean) / deviation */
    ROW,              /* the row's numbers as they are */
    QUANTIZE,         /* numbers to codes */
    DEQUANTIZE,       /* codes to numbers */
    PRODUCTS,         /* convolution or linear layer of numbers */
    DEPTHWISE,        /* convolution of numbers with one filter per channel */
    CODE_PRODUCTS,    /* the same of codes, in whole numbers */
    CODE_DEPTHWISE,
    MAXIMUM,          /* of each window */
    CODE_MAXIMUM,
    MEAN,             /* of all pixels, or of all tokens */
    CODE_MEAN,
    ADD,              /* two tensors */
    CODE_ADD,
    ADD_CONSTANT,     /* positions, to tokens */
    GELU,
    NORMALIZE,        /* each pixel's or token's channels */
    ATTENTION,
    LOOK_UP           /* codes to codes */
};

/* How weights are kept. */
enum {
    FLOATS,
    HALVES,           /* IEEE half precision, two bytes, the lower first */
    BYTES,            /* signed; times the channel's scale */
    NIBBLES           /* signed, two in a byte, the lower for the first half of the panel; times the channel's scale */
};

/* Places in the working memory count floats; places in constants count elements. A width or height of a linear layer's
   input is 1, or their product is the number of tokens. */
typedef struct {
    int32_t kind;
    int32_t source, other, result;      /* places in the working memory */
    int32_t height, width, channels;    /* of the source */
    int32_t out_height, out_width, out_channels;
    int32_t kernel_height, kernel_width, stride, padding;
    int32_t rectify;                    /* whether what is below zero becomes zero; of attention the heads */
    int32_t form;                       /* of the weights */
    int32_t weight;                     /* place among the floats, or in other forms among the bytes */
    int32_t bias, scale;                /* places among the floats; of sums of codes their offsets and factors */
    int32_t correction;                 /* place among the whole numbers: added to sums of codes */
    int32_t depth;                      /* weights of one output, or bytes of a row of codes for it */
    int32_t rows;                       /* outputs that are computed at a time */
    int32_t patches, panels;            /* places of scratch in the working memory */
    int32_t zero, other_zero, out_zero; /* codes of zero; an out_zero below zero: the result are floats */
} Step;

typedef struct {
    const Step *steps;
    const float *floats;
    const int32_t *wholes;
    const int8_t *bytes;
    int32_t count;                      /* of steps */
    int32_t classes;
    int32_t logits;                     /* their place in the working memory */
    int32_t mirror;                     /* whether to average with the mirror image's logits */
    float temperature;
} Model;

typedef union {
    float number;
    int32_t bits;
} Word;

/* 1.5 * 2^23: to a number of less than 2^22 it adds so much that the fraction is rounded away, half to even. */
#define ROUNDER 12582912.0f

static inline float round_to_even(float x)
{
    return (x + ROUNDER) - ROUNDER;
}

/* Clamping stands between the last product and the sum that rounds: so the two are never fused, which would round
   differently. */
static inline uint8_t to_code(float x, float low, float high, int32_t zero)
{
    x = x > low ? x : low;
    x = x < high ? x : high;
    return (uint8_t)((int32_t)round_to_even(x) + zero);
}

static inline float exponential(float x)
{
    Word power;
    float whole, rest, series;
    x = x > -87.0f ? x : -87.0f;
    x = x < 88.0f ? x : 88.0f;
    whole = round_to_even(x * 1.44269504f);
    rest = x - whole * 0.693359375f;
    rest -= whole * -2.12194440e-4f;
    series = 1.0f / 5040.0f;
    series = series * rest + 1.0f / 720.0f;
    series = series * rest + 1.0f / 120.0f;
    series = series * rest + 1.0f / 24.0f;
    series = series * rest + 1.0f / 6.0f;
    series = series * rest + 0.5f;
    series = series * rest + 1.0f;
    series = series * rest + 1.0f;
    power.bits = ((int32_t)whole + 127) * 8388608; /* 2^whole */
    return series * power.number;
}

/* x times the normal distribution function of x. The tail is exp(-x^2 / 2) times a polynomial in 1 / (1 + 0.38 z),
   fitted to a relative error of 2e-8. */
static inline float gelu(float x)
{
    const float z = (x < 0 ? -x : x) * 0.707106781f, t = 1.0f / (1.0f + 0.38f * z);
    float series = 0.05896366f, tail;
    series = series * t - 0.26226428f;
    series = series * t + 0.36382353f;
    series = series * t - 0.16141143f;
    series = series * t + 0.22998850f;
    series = series * t + 0.13866730f;
    series = series * t + 0.20390175f;
    series = series * t + 0.21392007f;
    series = series * t + 0.21441092f;
    tail = 0.5f * t * series * exponential(-z * z);
    return x * (x < 0 ? tail : 1.0f - tail);
}

/* 1 / sqrt(x), by Newton's method from a guess that halves the exponent. */
static float inverse_root(float x)
{
    Word guess;
    int i;
    guess.number = x;
    guess.bits = 0x5f3759df - (guess.bits >> 1);
    for (i = 0; i < 4; i++)
        guess.number *= 1.5f - 0.5f * x * guess.number * guess.number;
    return guess.number;
}

/* Sums and maxima in parts, so that their order is fixed and they need not wait for each other. */
static float sum_of(const float *x, int32_t count)
{
    float parts[PANEL] = {0}, total = 0;
    int32_t i = 0, j;
    for (; i + PANEL <= count; i += PANEL)
        for (j = 0; j < PANEL; j++)
            parts[j] += x[i + j];
    for (; i < count; i++)
        total += x[i];
    for (j = 0; j < PANEL; j++)
        total += parts[j];
    return total;
}

static float largest_of(const float *x, int32_t count)
{
    float parts[PANEL], largest = x[0];
    int32_t i = 0, j;
    for (j = 0; j < PANEL; j++)
        parts[j] = largest;
    for (; i + PANEL <= count; i += PANEL)
        for (j = 0; j < PANEL; j++)
            parts[j] = x[i + j] > parts[j] ? x[i + j] : parts[j];
    for (; i < count; i++)
        largest = x[i] > largest ? x[i] : largest;
    for (j = 0; j < PANEL; j++)
        largest = parts[j] > largest ? parts[j] : largest;
    return largest;
}

static void softmax(const float *x, int32_t count, float *result)
{
    const float largest = largest_of(x, count);
    float total;
    int32_t i;
    for (i = 0; i < count; i++)
        result[i] = exponential(x[i] - largest);
    total = 1.0f / sum_of(result, count);
    for (i = 0; i < count; i++)
        result[i] *= total;
}

/* ---- products of numbers: tiles of sums that stay in registers ---- */

#if defined(__GNUC__) && !defined(TRIMTAB_PLAIN) && \
    (defined(__SSE2__) || defined(__ARM_NEON) || defined(__wasm_simd128__))
#define VECTORS 1
#else
#define VECTORS 0
#endif

/* A tile is so many rows by two vectors: the more it has, the fewer loads for a product, as far as registers go. */
#if VECTORS && defined(__AVX512F__)
#define LANES 8
#define WIDE_LANES 16 /* of two panels one vector each */
#define ROWS 8
#elif VECTORS && defined(__AVX__)
#define LANES 8
#define ROWS 6
#elif VECTORS && defined(__aarch64__)
#define LANES 4
#define ROWS 8
#elif VECTORS
#define LANES 4
#define ROWS 4
#else
#define LANES 1
#define ROWS 4
#endif
#ifdef WIDE_LANES
#define WIDTH (2 * WIDE_LANES)
#else
#define WIDTH (2 * LANES)
#endif

#define EACH_1(DO, T) DO(T, 0)
#define EACH_2(DO, T) EACH_1(DO, T) DO(T, 1)
#define EACH_4(DO, T) EACH_2(DO, T) DO(T, 2) DO(T, 3)
#define EACH_6(DO, T) EACH_4(DO, T) DO(T, 4) DO(T, 5)
#define EACH_8(DO, T) EACH_6(DO, T) DO(T, 6) DO(T, 7)

#if VECTORS
#define DEFINE_VECTOR(T, SIZE)                                                                     \
    typedef float T __attribute__((vector_size(4 * (SIZE))));                                      \
    typedef int32_t T##_mask __attribute__((vector_size(4 * (SIZE))));                             \
    typedef float T##_loose __attribute__((vector_size(4 * (SIZE)), aligned(4), may_alias));       \
    static inline T T##_load(const float *p) { return *(const T##_loose *)p; }                     \
    static inline void T##_store(float *p, T x, int32_t rectify)                                   \
    {                                                                                              \
        const T zero = {0};                                                                        \
        if (rectify)                                                                               \
            x = (T)((T##_mask)x & (T##_mask)(x > zero));                                           \
        *(T##_loose *)p = x;                                                                       \
    }
#else
#define DEFINE_VECTOR(T, SIZE)                                                                     \
    typedef float T;                                                                               \
    static inline T T##_load(const float *p) { return *p; }                                        \
    static inline void T##_store(float *p, T x, int32_t rectify) { *p = rectify && x < 0 ? 0 : x; }
#endif

/* A function that writes a tile: COUNT rows of a times two vectors of columns. Panels hold, for each number of a row,
   PANEL weights; left and right point to the first weights of the vectors. */
#define DECLARE(T, i) T left##i = left_start, right##i = right_start;
#define ACCUMULATE(T, i)                                                                           \
    left##i += left_weights * a[i * a_stride + k];                                                 \
    right##i += right_weights * a[i * a_stride + k];
#define KEEP(T, i)                                                                                 \
    T##_store(out + i * out_stride, left##i, rectify);                                             \
    T##_store(out + i * out_stride + sizeof(T) / sizeof(float), right##i, rectify);
#define DEFINE_TILE(T, COUNT)                                                                      \
    static void T##_tile_##COUNT(const float *a, ptrdiff_t a_stride, int32_t depth,                \
                                 const float *left, const float *right, const float *bias,         \
                                 int32_t rectify, float *out, ptrdiff_t out_stride)                \
    {                                                                                              \
        const T zero = {0};                                                                        \
        const T left_start = bias ? T##_load(bias) : zero;                                         \
        const T right_start = bias ? T##_load(bias + sizeof(T) / sizeof(float)) : zero;            \
        int32_t k;                                                                                 \
        EACH_##COUNT(DECLARE, T)                                                                   \
        for (k = 0; k < depth; k++, left += PANEL, right += PANEL) {                               \
            const T left_weights = T##_load(left), right_weights = T##_load(right);                \
            EACH_##COUNT(ACCUMULATE, T)                                                            \
        }                                                                                          \
        EACH_##COUNT(KEEP, T)                                                                      \
    }

/* A function that writes a tile and returns of how many rows: as many as fit, or fewer where fewer are left. */
#define TILE_OF(T, COUNT)                                                                          \
    if (rows >= COUNT) {                                                                           \
        T##_tile_##COUNT(a, a_stride, depth, left, right, bias, rectify, out, out_stride);         \
        return COUNT;                                                                              \
    }
#define DEFINE_TILES(T)                                                                            \
    DEFINE_LARGE_TILE(T)                                                                           \
    DEFINE_TILE(T, 4)                                                                              \
    DEFINE_TILE(T, 2)                                                                              \
    DEFINE_TILE(T, 1)                                                                              \
    static int32_t T##_tile(const float *a, ptrdiff_t a_stride, int32_t rows, int32_t depth,       \
                            const float *left, const float *right, const float *bias,              \
                            int32_t rectify, float *out, ptrdiff_t out_stride)                     \
    {                                                                                              \
        LARGE_TILE(T)                                                                              \
        TILE_OF(T, 4)                                                                              \
        TILE_OF(T, 2)                                                                              \
        TILE_OF(T, 1)                                                                              \
        return 0;                                                                                  \
    }

#if ROWS == 8
#define DEFINE_LARGE_TILE(T) DEFINE_TILE(T, 8)
#define LARGE_TILE(T) TILE_OF(T, 8)
#elif ROWS == 6
#define DEFINE_LARGE_TILE(T) DEFINE_TILE(T, 6)
#define LARGE_TILE(T) TILE_OF(T, 6)
#else
#define DEFINE_LARGE_TILE(T)
#define LARGE_TILE(T)
#endif

DEFINE_VECTOR(narrow, LANES)
DEFINE_TILES(narrow)
#ifdef WIDE_LANES
DEFINE_VECTOR(wide, WIDE_LANES)
DEFINE_TILES(wide)
#endif

/* out = a times the weights in panels, plus bias unless that is NULL. Of a tile that is wider than what is left of the
   columns, the rest is thrown away. */
static void multiply(const float *a, ptrdiff_t a_stride, int32_t rows, int32_t depth, const float *panels,
                     int32_t columns, const float *bias, int32_t rectify, float *out, ptrdiff_t out_stride)
{
    float tile[MOST_ROWS * MOST_COLUMNS];
    const ptrdiff_t panel = (ptrdiff_t)depth * PANEL;
    int32_t column, row, width, count, i, j;
    for (column = 0; column < columns; column += width) {
        const int32_t rest = columns - column;
        const float *left = panels + column / PANEL * panel + column % PANEL;
        const float *own_bias = bias ? bias + column : bias;
        width = rest > PANEL ? WIDTH : 2 * LANES;
        for (row = 0; row < rows; row += count) {
            float *target = rest < width ? tile : out + row * out_stride + column;
            const ptrdiff_t stride = rest < width ? MOST_COLUMNS : out_stride;
#ifdef WIDE_LANES
            if (width == WIDTH)
                count = wide_tile(a + row * a_stride, a_stride, rows - row, depth, left, left + panel, own_bias,
                                  rectify, target, stride);
            else
#endif
                count = narrow_tile(a + row * a_stride, a_stride, rows - row, depth, left, left + LANES, own_bias,
                                    rectify, target, stride);
            for (i = 0; rest < width && i < count; i++)
                for (j = 0; j < rest; j++)
                    out[(row + i) * out_stride + column + j] = tile[i * MOST_COLUMNS + j];
        }
    }
}

/* ---- products of codes: whole numbers, exact in any order ----

   Four codes of a row times four weights of an output are one operation (dot). Each way to do that has types for the
   sums of a vector of outputs (T_sums), their weights (T_weights) and four codes of a row, repeated (T_codes). */

#if VECTORS && (defined(__AVX512VNNI__) && defined(__AVX512VL__))
#include <immintrin.h>
#define CODE_LANES 8
#define CODE_WIDE_LANES 16
#define CODE_ROWS 8
typedef uint8_t Entry; /* a code of a row, as it is multiplied */
typedef __m256i few_sums, few_weights, few_codes;
typedef __m512i many_sums, many_weights, many_codes;
typedef int32_t loose_quad __attribute__((aligned(1), may_alias));
static inline few_codes few_repeat(const Entry *p) { return _mm256_set1_epi32(*(const loose_quad *)p); }
static inline few_weights few_load(const int8_t *p) { return _mm256_loadu_si256((const __m256i *)(const void *)p); }
static inline few_sums few_dot(few_sums sums, few_codes a, few_weights b) { return _mm256_dpbusd_epi32(sums, a, b); }
static inline void few_store(int32_t *p, few_sums sums) { _mm256_storeu_si256((__m256i *)(void *)p, sums); }
static inline few_sums few_zero(void) { return _mm256_setzero_si256(); }
static inline many_codes many_repeat(const Entry *p) { return _mm512_set1_epi32(*(const loose_quad *)p); }
static inline many_weights many_load(const int8_t *p) { return _mm512_loadu_si512((const void *)p); }
static inline many_sums many_dot(many_sums sums, many_codes a, many_weights b)
{
    return _mm512_dpbusd_epi32(sums, a, b);
}
static inline void many_store(int32_t *p, many_sums sums) { _mm512_storeu_si512((void *)p, sums); }
static inline many_sums many_zero(void) { return _mm512_setzero_si512(); }

#elif VECTORS && defined(__AVXVNNI__)
#include <immintrin.h>
#define CODE_LANES 8
#define CODE_ROWS 4
typedef uint8_t Entry;
typedef __m256i few_sums, few_weights, few_codes;
typedef int32_t loose_quad __attribute__((aligned(1), may_alias));
static inline few_codes few_repeat(const Entry *p) { return _mm256_set1_epi32(*(const loose_quad *)p); }
static inline few_weights few_load(const int8_t *p) { return _mm256_loadu_si256((const __m256i *)(const void *)p); }
static inline few_sums few_dot(few_sums sums, few_codes a, few_weights b)
{
    return _mm256_dpbusd_avx_epi32(sums, a, b);
}
static inline void few_store(int32_t *p, few_sums sums) { _mm256_storeu_si256((__m256i *)(void *)p, sums); }
static inline few_sums few_zero(void) { return _mm256_setzero_si256(); }

#elif VECTORS && (defined(__AVX2__) || defined(__SSE2__) || defined(__wasm_simd128__))
/* Pairs of 16-bit products are added up, so that an output has two sums until the end. */
#define CODE_ROWS 2
typedef int16_t Entry __attribute__((may_alias));
typedef int64_t loose_quad __attribute__((aligned(2), may_alias));
#if defined(__AVX2__)
#include <immintrin.h>
#define CODE_LANES 8
typedef __m256i Pairs;
static inline Pairs pairs_zero(void) { return _mm256_setzero_si256(); }
static inline Pairs pairs_repeat(const Entry *p) { return _mm256_set1_epi64x(*(const loose_quad *)p); }
static inline Pairs pairs_load(const int8_t *p)
{
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)p));
}
static inline Pairs pairs_dot(Pairs sums, Pairs a, Pairs b) { return _mm256_add_epi32(sums, _mm256_madd_epi16(a, b)); }
static inline void pairs_store(int32_t *p, Pairs sums) { _mm256_storeu_si256((__m256i *)(void *)p, sums); }
#elif defined(__SSE2__)
#include <emmintrin.h>
#define CODE_LANES 4
typedef __m128i Pairs;
static inline Pairs pairs_zero(void) { return _mm_setzero_si128(); }
static inline Pairs pairs_repeat(const Entry *p) { return _mm_set1_epi64x(*(const loose_quad *)p); }
static inline Pairs pairs_load(const int8_t *p)
{
    const __m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)p);
    return _mm_srai_epi16(_mm_unpacklo_epi8(bytes, bytes), 8);
}
static inline Pairs pairs_dot(Pairs sums, Pairs a, Pairs b) { return _mm_add_epi32(sums, _mm_madd_epi16(a, b)); }
static inline void pairs_store(int32_t *p, Pairs sums) { _mm_storeu_si128((__m128i *)(void *)p, sums); }
#else
#include <wasm_simd128.h>
#define CODE_LANES 4
typedef v128_t Pairs;
static inline Pairs pairs_zero(void) { return wasm_i32x4_const_splat(0); }
static inline Pairs pairs_repeat(const Entry *p) { return wasm_v128_load64_splat(p); }
static inline Pairs pairs_load(const int8_t *p) { return wasm_i16x8_load8x8(p); }
static inline Pairs pairs_dot(Pairs sums, Pairs a, Pairs b) { return wasm_i32x4_add(sums, wasm_i32x4_dot_i16x8(a, b)); }
static inline void pairs_store(int32_t *p, Pairs sums) { wasm_v128_store(p, sums); }
#endif
typedef Pairs few_codes;
typedef struct {
    Pairs first, second;
} few_sums, few_weights;
static inline few_codes few_repeat(const Entry *p) { return pairs_repeat(p); }
static inline few_weights few_load(const int8_t *p)
{
    const few_weights weights = {pairs_load(p), pairs_load(p + CODE_LANES / 2 * QUAD)};
    return weights;
}
static inline few_sums few_dot(few_sums sums, few_codes a, few_weights b)
{
    sums.first = pairs_dot(sums.first, a, b.first);
    sums.second = pairs_dot(sums.second, a, b.second);
    return sums;
}
static inline void few_store(int32_t *p, few_sums sums)
{
    int32_t pairs[2 * CODE_LANES];
    int32_t i;
    pairs_store(pairs, sums.first);
    pairs_store(pairs + CODE_LANES, sums.second);
    for (i = 0; i < CODE_LANES; i++)
        p[i] = pairs[2 * i] + pairs[2 * i + 1];
}
static inline few_sums few_zero(void)
{
    const few_sums zero = {pairs_zero(), pairs_zero()};
    return zero;
}

#else
#define CODE_LANES 4
#define CODE_ROWS 2
typedef uint8_t Entry;
typedef const Entry *few_codes;
typedef const int8_t *few_weights;
typedef struct {
    int32_t of[CODE_LANES];
} few_sums;
static inline few_codes few_repeat(const Entry *p) { return p; }
static inline few_weights few_load(const int8_t *p) { return p; }
static inline few_sums few_dot(few_sums sums, few_codes a, few_weights b)
{
    int32_t i, j;
    for (i = 0; i < CODE_LANES; i++)
        for (j = 0; j < QUAD; j++)
            sums.of[i] += (int32_t)a[j] * b[i * QUAD + j];
    return sums;
}
static inline void few_store(int32_t *p, few_sums sums)
{
    int32_t i;
    for (i = 0; i < CODE_LANES; i++)
        p[i] = sums.of[i];
}
static inline few_sums few_zero(void)
{
    const few_sums zero = {{0}};
    return zero;
}
#endif

#ifdef CODE_WIDE_LANES
#define CODE_WIDTH (2 * CODE_WIDE_LANES)
#else
#define CODE_WIDTH (2 * CODE_LANES)
#endif

/* As the tiles of floats, but the sums have a stride of MOST_COLUMNS. */
#define CODE_DECLARE(T, i) T##_sums left##i = T##_zero(), right##i = T##_zero();
#define CODE_ACCUMULATE(T, i)                                                                      \
    {                                                                                              \
        const T##_codes codes = T##_repeat(a + i * a_stride + k * QUAD);                           \
        left##i = T##_dot(left##i, codes, left_weights);                                           \
        right##i = T##_dot(right##i, codes, right_weights);                                        \
    }
#define CODE_KEEP(T, i)                                                                            \
    T##_store(out + i * MOST_COLUMNS, left##i);                                                    \
    T##_store(out + i * MOST_COLUMNS + T##_lanes, right##i);
#define DEFINE_CODE_TILE(T, COUNT)                                                                 \
    static void T##_code_tile_##COUNT(const Entry *a, ptrdiff_t a_stride, int32_t quads,           \
                                      const int8_t *left, const int8_t *right, int32_t *out)       \
    {                                                                                              \
        ptrdiff_t k;                                                                               \
        EACH_##COUNT(CODE_DECLARE, T)                                                              \
        for (k = 0; k < quads; k++, left += PANEL * QUAD, right += PANEL * QUAD) {                 \
            const T##_weights left_weights = T##_load(left), right_weights = T##_load(right);      \
            EACH_##COUNT(CODE_ACCUMULATE, T)                                                       \
        }                                                                                          \
        EACH_##COUNT(CODE_KEEP, T)                                                                 \
    }
#define CODE_TILE_OF(T, COUNT)                                                                     \
    if (rows >= COUNT) {                                                                           \
        T##_code_tile_##COUNT(a, a_stride, quads, left, right, out);                               \
        return COUNT;                                                                              \
    }
#define DEFINE_CODE_TILES(T)                                                                       \
    DEFINE_LARGE_CODE_TILES(T)                                                                     \
    DEFINE_CODE_TILE(T, 2)                                                                         \
    DEFINE_CODE_TILE(T, 1)                                                                         \
    static int32_t T##_code_tile(const Entry *a, ptrdiff_t a_stride, int32_t rows, int32_t quads,  \
                                 const int8_t *left, const int8_t *right, int32_t *out)            \
    {                                                                                              \
        LARGE_CODE_TILES(T)                                                                        \
        CODE_TILE_OF(T, 2)                                                                         \
        CODE_TILE_OF(T, 1)                                                                         \
        return 0;                                                                                  \
    }

#if CODE_ROWS == 8
#define DEFINE_LARGE_CODE_TILES(T) DEFINE_CODE_TILE(T, 8) DEFINE_CODE_TILE(T, 4)
#define LARGE_CODE_TILES(T) CODE_TILE_OF(T, 8) CODE_TILE_OF(T, 4)
#elif CODE_ROWS == 4
#define DEFINE_LARGE_CODE_TILES(T) DEFINE_CODE_TILE(T, 4)
#define LARGE_CODE_TILES(T) CODE_TILE_OF(T, 4)
#else
#define DEFINE_LARGE_CODE_TILES(T)
#define LARGE_CODE_TILES(T)
#endif

enum { few_lanes = CODE_LANES };
DEFINE_CODE_TILES(few)
#ifdef CODE_WIDE_LANES
enum { many_lanes = CODE_WIDE_LANES };
DEFINE_CODE_TILES(many)
#endif


/* ---- rows of a matrix: what each output sees ---- */

/* Writes what the kernel covers, tap after tap, for the outputs from first to first + count; beyond the picture lies
   border. */
#define DEFINE_GATHER(NAME, SOURCE, TARGET)                                                        \
    static void NAME(const Step *s, const SOURCE *source, int32_t first, int32_t count,            \
                     TARGET border, TARGET *restrict out, ptrdiff_t out_stride)                    \
    {                                                                                              \
        const int32_t line = s->kernel_width * s->channels;                                        \
        int32_t i, j, y;                                                                           \
        for (i = first; i < first + count; i++, out += out_stride) {                               \
            const int32_t top = i / s->out_width * s->stride - s->padding;                         \
            const int32_t left = i % s->out_width * s->stride - s->padding;                        \
            const int32_t over = left + s->kernel_width - s->width;                                \
            const int32_t start = left < 0 ? -left * s->channels : 0;                              \
            const int32_t end = over > 0 ? line - over * s->channels : line;                       \
            TARGET *restrict target = out;                                                         \
            for (y = top; y < top + s->kernel_height; y++, target += line) {                       \
                const ptrdiff_t place = ((ptrdiff_t)y * s->width + left) * s->channels;            \
                if (y < 0 || y >= s->height) {                                                     \
                    for (j = 0; j < line; j++)                                                     \
                        target[j] = border;                                                        \
                    continue;                                                                      \
                }                                                                                  \
                for (j = 0; j < start; j++)                                                        \
                    target[j] = border;                                                            \
                for (; j < end; j++)                                                               \
                    target[j] = (TARGET)source[place + j];                                         \
                for (; j < line; j++)                                                              \
                    target[j] = border;                                                            \
            }                                                                                      \
        }                                                                                          \
    }

DEFINE_GATHER(gather, float, float)
DEFINE_GATHER(gather_codes, uint8_t, Entry)

static int is_pointwise(const Step *s)
{
    return s->kernel_height == 1 && s->kernel_width == 1 && s->stride == 1 && s->padding == 0;
}

/* ---- steps ---- */

/* Weights of so many columns from the first on, as floats in panels. */
static void expand(const Step *s, const Model *m, int32_t column, int32_t columns, float *restrict out)
{
    const ptrdiff_t size = (ptrdiff_t)s->depth * PANEL;
    const int8_t *restrict bytes = m->bytes + s->weight;
    int32_t panel, k, j;
    for (panel = column / PANEL; panel * PANEL < column + columns; panel++, out += size) {
        const float *restrict scale = m->floats + s->scale + (s->form == HALVES ? 0 : panel * PANEL);
        for (k = 0; k < s->depth; k++) {
            float *restrict target = out + (ptrdiff_t)k * PANEL;
            const ptrdiff_t place = panel * size + (ptrdiff_t)k * PANEL;
            if (s->form == BYTES) {
                for (j = 0; j < PANEL; j++)
                    target[j] = (float)bytes[place + j] * scale[j];
            } else if (s->form == NIBBLES) {
                for (j = 0; j < PANEL / 2; j++) {
                    const int32_t pair = (uint8_t)bytes[place / 2 + j];
                    target[j] = (float)(((pair & 15) ^ 8) - 8) * scale[j];
                    target[j + PANEL / 2] = (float)(((pair >> 4) ^ 8) - 8) * scale[j + PANEL / 2];
                }
            } else {
                for (j = 0; j < PANEL; j++) {
                    const int32_t low = (uint8_t)bytes[2 * (place + j)], high = (uint8_t)bytes[2 * (place + j) + 1];
                    Word half; /* with a float's fields, and an exponent that is too small by 112 */
                    half.bits = ((high & 127) << 8 | low) << 13;
                    target[j] = half.number * (high & 128 ? -5.192296858534828e33f : 5.192296858534828e33f);
                }
            }
        }
    }
}

static void do_products(const Step *s, const Model *m, float *work)
{
    const int32_t outputs = s->out_height * s->out_width;
    const float *bias = m->floats + s->bias;
    float *patches = work + s->patches, *panels = work + s->panels;
    int32_t first, count, column;
    for (first = 0; first < outputs; first += count) {
        const float *rows = patches;
        float *out = work + s->result + (ptrdiff_t)first * s->out_channels;
        count = outputs - first < s->rows ? outputs - first : s->rows;
        if (is_pointwise(s))
            rows = work + s->source + (ptrdiff_t)first * s->channels;
        else
            gather(s, work + s->source, first, count, 0.0f, patches, s->depth);
        if (s->form == FLOATS) {
            multiply(rows, s->depth, count, s->depth, m->floats + s->weight, s->out_channels, bias, s->rectify, out,
                     s->out_channels);
            continue;
        }
        for (column = 0; column < s->out_channels; column += MOST_COLUMNS) {
            const int32_t rest = s->out_channels - column, columns = rest < MOST_COLUMNS ? rest : MOST_COLUMNS;
            expand(s, m, column, columns, panels);
            multiply(rows, s->depth, count, s->depth, panels, columns, bias + column, s->rectify, out + column,
                     s->out_channels);
        }
    }
}

/* What sums of products of codes stand for: (sum + offset) * factor, as a number or as a code. */
static void finish_numbers(const Step *s, const Model *m, const int32_t *restrict sums, int32_t column, int32_t count,
                           float *restrict out)
{
    const int32_t *restrict correction = m->wholes + s->correction + column;
    const float *restrict offset = m->floats + s->bias + column, *restrict factor = m->floats + s->scale + column;
    const float low = s->rectify ? 0.0f : -3.4e38f;
    int32_t i;
    for (i = 0; i < count; i++) {
        const float x = ((float)(sums[i] + correction[i]) + offset[i]) * factor[i];
        out[i] = x > low ? x : low;
    }
}

static void finish_codes(const Step *s, const Model *m, const int32_t *restrict sums, int32_t column, int32_t count,
                         uint8_t *restrict out)
{
    const int32_t *restrict correction = m->wholes + s->correction + column;
    const float *restrict offset = m->floats + s->bias + column, *restrict factor = m->floats + s->scale + column;
    const int32_t zero = s->out_zero;
    const float low = s->rectify ? 0.0f : (float)-zero, high = (float)(255 - zero);
    int32_t i;
    for (i = 0; i < count; i++)
        out[i] = to_code(((float)(sums[i] + correction[i]) + offset[i]) * factor[i], low, high, zero);
}

/* Of a row of sums the columns from the first on. */
static void finish(const Step *s, const Model *m, const int32_t *sums, int32_t row, int32_t column, int32_t count,
                   float *work)
{
    const ptrdiff_t place = (ptrdiff_t)row * s->out_channels + column;
    if (s->out_zero < 0)
        finish_numbers(s, m, sums, column, count, work + s->result + place);
    else
        finish_codes(s, m, sums, column, count, (uint8_t *)(work + s->result) + place);
}

static void do_code_products(const Step *s, const Model *m, float *work)
{
    int32_t sums[MOST_ROWS * MOST_COLUMNS];
    const int32_t outputs = s->out_height * s->out_width, quads = s->depth / QUAD;
    const uint8_t *source = (const uint8_t *)(work + s->source);
    const ptrdiff_t panel = (ptrdiff_t)s->depth * PANEL;
    int32_t first, count, column, width, row, done, i;
    for (first = 0; first < outputs; first += count) {
        Entry *patches = (Entry *)(void *)(work + s->patches);
        const Entry *rows = patches;
        count = outputs - first < s->rows ? outputs - first : s->rows;
        gather_codes(s, source, first, count, (Entry)s->zero, patches, s->depth);
        for (column = 0; column < s->out_channels; column += width) {
            const int32_t rest = s->out_channels - column;
            const int8_t *left = m->bytes + s->weight + column / PANEL * panel + column % PANEL * QUAD;
            width = rest > PANEL ? CODE_WIDTH : 2 * CODE_LANES;
            for (row = 0; row < count; row += done) {
                const Entry *a = rows + (ptrdiff_t)row * s->depth;
#ifdef CODE_WIDE_LANES
                if (width == CODE_WIDTH)
                    done = many_code_tile(a, s->depth, count - row, quads, left, left + panel, sums);
                else
#endif
                    done = few_code_tile(a, s->depth, count - row, quads, left, left + CODE_LANES * QUAD, sums);
                for (i = 0; i < done; i++)
                    finish(s, m, sums + i * MOST_COLUMNS, first + row + i, column, rest < width ? rest : width, work);
            }
        }
    }
}

/* One filter per channel, at the pixel's taps that lie in the picture. */
static void do_depthwise(const Step *s, const Model *m, float *work)
{
    const float *source = work + s->source, *weights = m->floats + s->weight, *bias = m->floats + s->bias;
    const int32_t channels = s->channels;
    float *restrict out = work + s->result;
    int32_t i, y, x, c;
    for (i = 0; i < s->out_height * s->out_width; i++, out += channels) {
        const int32_t top = i / s->out_width * s->stride - s->padding, left = i % s->out_width * s->stride - s->padding;
        for (c = 0; c < channels; c++)
            out[c] = bias[c];
        for (y = 0; y < s->kernel_height; y++)
            for (x = 0; x < s->kernel_width; x++) {
                const float *tap = weights + (ptrdiff_t)(y * s->kernel_width + x) * channels, *pixel;
                if (top + y < 0 || top + y >= s->height || left + x < 0 || left + x >= s->width)
                    continue;
                pixel = source + ((ptrdiff_t)(top + y) * s->width + left + x) * channels;
                for (c = 0; c < channels; c++)
                    out[c] += pixel[c] * tap[c];
            }
        for (c = 0; s->rectify && c < channels; c++)
            out[c] = out[c] > 0 ? out[c] : 0;
    }
}

static void do_code_depthwise(const Step *s, const Model *m, float *work)
{
    int32_t sums[MOST_COLUMNS];
    const uint8_t *source = (const uint8_t *)(work + s->source);
    const int8_t *weights = m->bytes + s->weight;
    int32_t i, y, x, c, column;
    for (i = 0; i < s->out_height * s->out_width; i++) {
        const int32_t top = i / s->out_width * s->stride - s->padding, left = i % s->out_width * s->stride - s->padding;
        for (column = 0; column < s->channels; column += MOST_COLUMNS) {
            const int32_t rest = s->channels - column, count = rest < MOST_COLUMNS ? rest : MOST_COLUMNS;
            for (c = 0; c < MOST_COLUMNS; c++)
                sums[c] = 0;
            for (y = 0; y < s->kernel_height; y++)
                for (x = 0; x < s->kernel_width; x++) {
                    const int8_t *tap = weights + (ptrdiff_t)(y * s->kernel_width + x) * s->channels + column;
                    const uint8_t *pixel;
                    if (top + y < 0 || top + y >= s->height || left + x < 0 || left + x >= s->width)
                        continue;
                    pixel = source + ((ptrdiff_t)(top + y) * s->width + left + x) * s->channels + column;
                    for (c = 0; c < count; c++)
                        sums[c] += (pixel[c] - s->zero) * tap[c];
                }
            finish(s, m, sums, i, column, count, work);
        }
    }
}

#define DEFINE_MAXIMUM(NAME, TYPE)                                                                 \
    static void NAME(const Step *s, const TYPE *source, TYPE *restrict out)                        \
    {                                                                                              \
        int32_t i, y, x, c;                                                                        \
        for (i = 0; i < s->out_height * s->out_width; i++, out += s->channels) {                   \
            const ptrdiff_t line = (ptrdiff_t)s->width * s->channels;                              \
            const TYPE *corner = source + i / s->out_width * s->stride * line                      \
                                 + (ptrdiff_t)(i % s->out_width) * s->stride * s->channels;        \
            for (c = 0; c < s->channels; c++)                                                      \
                out[c] = corner[c];                                                                \
            for (y = 0; y < s->kernel_height; y++)                                                 \
                for (x = 0; x < s->kernel_width; x++) {                                            \
                    const TYPE *pixel = corner + y * line + (ptrdiff_t)x * s->channels;            \
                    for (c = 0; c < s->channels; c++)                                              \
                        out[c] = pixel[c] > out[c] ? pixel[c] : out[c];                            \
                }                                                                                  \
        }                                                                                          \
    }

DEFINE_MAXIMUM(maximum, float)
DEFINE_MAXIMUM(code_maximum, uint8_t)

static void do_mean(const Step *s, const Model *m, float *work)
{
    const float *source = work + s->source;
    const int32_t pixels = s->height * s->width;
    float *restrict out = work + s->result;
    int32_t i, c;
    (void)m;
    for (c = 0; c < s->channels; c++)
        out[c] = 0;
    for (i = 0; i < pixels; i++, source += s->channels)
        for (c = 0; c < s->channels; c++)
            out[c] += source[c];
    for (c = 0; c < s->channels; c++)
        out[c] /= (float)pixels;
}

static void do_code_mean(const Step *s, const Model *m, float *work)
{
    const uint8_t *source = (const uint8_t *)(work + s->source);
    uint8_t *out = (uint8_t *)(work + s->result);
    const int32_t pixels = s->height * s->width;
    const float factor = m->floats[s->scale], low = (float)-s->out_zero, high = (float)(255 - s->out_zero);
    int32_t i, c;
    for (c = 0; c < s->channels; c++) {
        int32_t sum = 0;
        for (i = 0; i < pixels; i++)
            sum += source[(ptrdiff_t)i * s->channels + c] - s->zero;
        out[c] = to_code((float)sum / (float)pixels * factor, low, high, s->out_zero);
    }
}

static int32_t size_of(const Step *s)
{
    return s->height * s->width * s->channels;
}

/* Sums of codes of two scales: each product in double precision, where it is exact, then rounded to a float, so that
   no compiler can fuse it with the sum. */
static void do_code_add(const Step *s, const Model *m, float *work)
{
    const uint8_t *one = (const uint8_t *)(work + s->source), *other = (const uint8_t *)(work + s->other);
    uint8_t *restrict out = (uint8_t *)(work + s->result);
    const double factor = m->floats[s->scale], other_factor = m->floats[s->scale + 1];
    const float low = (float)-s->out_zero, high = (float)(255 - s->out_zero);
    int32_t i;
    for (i = 0; i < size_of(s); i++) {
        const float first = (float)((double)(one[i] - s->zero) * factor);
        const float second = (float)((double)(other[i] - s->other_zero) * other_factor);
        out[i] = to_code(first + second, low, high, s->out_zero);
    }
}

static void do_normalize(const Step *s, const Model *m, float *work)
{
    const float *source = work + s->source, *weight = m->floats + s->weight, *bias = m->floats + s->bias;
    const int32_t channels = s->channels;
    float *restrict out = work + s->result;
    int32_t i, c;
    for (i = 0; i < s->height * s->width; i++, source += channels, out += channels) {
        const float mean = sum_of(source, channels) / (float)channels;
        float factor, variance;
        for (c = 0; c < channels; c++)
            out[c] = (source[c] - mean) * (source[c] - mean);
        variance = sum_of(out, channels) / (float)channels + m->floats[s->scale];
        factor = inverse_root(variance);
        for (c = 0; c < channels; c++)
            out[c] = (source[c] - mean) * factor * weight[c] + bias[c];
    }
}

/* Numbers of a matrix [rows, columns] with a stride, as the panels that multiply by it, or by its transpose, reads. */
static void arrange(const float *matrix, ptrdiff_t row_step, ptrdiff_t column_step, int32_t rows, int32_t columns,
                    float *out)
{
    int32_t panel, k, j;
    for (panel = 0; panel < columns; panel += PANEL)
        for (k = 0; k < rows; k++)
            for (j = panel; j < panel + PANEL; j++)
                *out++ = j < columns ? matrix[k * row_step + j * column_step] : 0.0f;
}

/* softmax(queries keys^T / sqrt(width)) values, for each head; queries, keys and values lie side by side. */
static void do_attention(const Step *s, const Model *m, float *work)
{
    const int32_t tokens = s->height * s->width, width = s->out_channels, part = width / s->rectify;
    const ptrdiff_t stride = s->channels;
    float *scores = work + s->patches, *panels = work + s->panels;
    int32_t head, first, count, i;
    for (head = 0; head < width; head += part) {
        const float *queries = work + s->source + head, *keys = queries + width, *values = keys + width;
        float *out = work + s->result + head;
        float *value_panels = panels + (ptrdiff_t)(tokens + PANEL - 1) / PANEL * PANEL * part;
        arrange(keys, 1, stride, part, tokens, panels);
        arrange(values, stride, 1, tokens, part, value_panels);
        for (first = 0; first < tokens; first += count) {
            count = tokens - first < s->rows ? tokens - first : s->rows;
            multiply(queries + first * stride, stride, count, part, panels, tokens, NULL, 0, scores, tokens);
            for (i = 0; i < count * tokens; i++)
                scores[i] *= m->floats[s->scale];
            for (i = 0; i < count; i++)
                softmax(scores + (ptrdiff_t)i * tokens, tokens, scores + (ptrdiff_t)i * tokens);
            multiply(scores, tokens, count, tokens, value_panels, part, NULL, 0, out + (ptrdiff_t)first * width, width);
        }
    }
}

/* Steps that treat each number by itself. */
static void do_numbers(const Step *s, const Model *m, float *work)
{
    const float *source = work + s->source, *other = work + s->other;
    const uint8_t *codes = (const uint8_t *)source, *table = (const uint8_t *)(m->bytes + s->weight);
    float *out = work + s->result;
    uint8_t *out_codes = (uint8_t *)out;
    const int32_t size = size_of(s);
    const float scale = m->floats[s->scale];
    int32_t i;
    switch (s->kind) {
    case QUANTIZE:
        for (i = 0; i < size; i++)
            out_codes[i] = to_code(source[i] / scale, (float)-s->out_zero, (float)(255 - s->out_zero), s->out_zero);
        break;
    case DEQUANTIZE:
        for (i = 0; i < size; i++)
            out[i] = (float)(codes[i] - s->zero) * scale;
        break;
    case LOOK_UP:
        for (i = 0; i < size; i++)
            out_codes[i] = table[codes[i]];
        break;
    case ADD_CONSTANT:
        other = m->floats + s->bias;
        /* fall through */
    case ADD:
        for (i = 0; i < size; i++)
            out[i] = source[i] + other[i];
        break;
    default: /* GELU */
        for (i = 0; i < size; i++)
            out[i] = gelu(source[i]);
    }
}

/* ---- a model ---- */

/* The picture as floats: height, width, channels; from right to left if it is to be mirrored. */
static void read_pixels(const Step *s, const Model *m, const uint8_t *pixels, int mirrored, float *restrict out)
{
    const float *mean = m->floats + s->bias, *deviation = m->floats + s->scale;
    int32_t y, x, c;
    for (y = 0; y < s->height; y++)
        for (x = 0; x < s->width; x++) {
            const int32_t from = mirrored ? s->width - 1 - x : x;
            const uint8_t *pixel = pixels + ((ptrdiff_t)y * s->width + from) * s->channels;
            for (c = 0; c < s->channels; c++)
                *out++ = ((float)pixel[c] - mean[c]) / deviation[c];
        }
}

static void read_row(const Step *s, const float *row, float *restrict out)
{
    int32_t c;
    for (c = 0; c < s->channels; c++)
        out[c] = row[c];
}

static void run(const Model *m, const void *input, int mirrored, float *work)
{
    int32_t i;
    for (i = 0; i < m->count; i++) {
        const Step *s = m->steps + i;
        switch (s->kind) {
        case PIXELS: read_pixels(s, m, (const uint8_t *)input, mirrored, work + s->result); break;
        case ROW: read_row(s, (const float *)input, work + s->result); break;
        case PRODUCTS: do_products(s, m, work); break;
        case DEPTHWISE: do_depthwise(s, m, work); break;
        case CODE_PRODUCTS: do_code_products(s, m, work); break;
        case CODE_DEPTHWISE: do_code_depthwise(s, m, work); break;
        case MAXIMUM: maximum(s, work + s->source, work + s->result); break;
        case CODE_MAXIMUM:
            code_maximum(s, (const uint8_t *)(work + s->source), (uint8_t *)(work + s->result));
            break;
        case MEAN: do_mean(s, m, work); break;
        case CODE_MEAN: do_code_mean(s, m, work); break;
        case CODE_ADD: do_code_add(s, m, work); break;
        case NORMALIZE: do_normalize(s, m, work); break;
        case ATTENTION: do_attention(s, m, work); break;
        default: do_numbers(s, m, work);
        }
    }
}

/* Writes the probabilities of one picture or row and returns the most probable class, of equals the first. */
static int predict(const Model *m, const void *input, float *probabilities, float *memory)
{
    /* The next multiple of 64 bytes: the memory has room for that. */
    float *work = memory + (64 - (uintptr_t)memory % 64) / sizeof(float) % (64 / sizeof(float));
    float *logits = work + m->logits;
    int32_t i, best = 0;
    run(m, input, 0, work);
    if (m->mirror) {
        for (i = 0; i < m->classes; i++)
            probabilities[i] = logits[i];
        run(m, input, 1, work);
        for (i = 0; i < m->classes; i++)
            logits[i] = (probabilities[i] + logits[i]) / 2.0f;
    }
    for (i = 0; i < m->classes; i++)
        logits[i] /= m->temperature;
    softmax(logits, m->classes, probabilities);
    for (i = 1; i < m->classes; i++)
        if (probabilities[i] > probabilities[best])
            best = i;
    return (int)best;
}
