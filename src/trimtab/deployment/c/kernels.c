/*
 * The layers of trimtab's networks, and what runs them one after the other. Everything that differs from model to
 * model is data: steps, constants and sizes. So this file also makes one WebAssembly module for all models.
 *
 * Pictures lie row by row, the channels of a pixel side by side. A number that flows from step to step is a float or a
 * code: one byte, which stands for scale * (code - zero). After each tensor in the working memory there is room for
 * BLOCK more: loops work on whole blocks, and what lies beyond a pixel's channels is written over by the next pixel.
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

/* Functions that would only take more room inlined, and loops over a block: compilers shall make vectors of them, not
   copies of their body. */
#if defined(__clang__)
#define APART __attribute__((noinline))
#define ROLLED _Pragma("clang loop unroll(disable)")
#elif defined(__GNUC__)
#define APART __attribute__((noinline, noclone))
#define ROLLED _Pragma("GCC unroll 1")
#else
#define APART
#define ROLLED
#pragma STDC FP_CONTRACT OFF
#endif
#define EACH_IN_BLOCK(j, start) ROLLED for (j = (start); j < (start) + BLOCK; j++)

enum {
    BLOCK = 16,       /* numbers that loops treat at a time, which compilers make a vector or a few of */
    PANEL = 16,       /* output channels whose weights lie side by side */
    QUAD = 4,         /* codes that are multiplied and summed at once */
    MOST_ROWS = 8,    /* of a tile of sums */
    MOST_COLUMNS = 32,
    MOST_TAPS = 64    /* of a filter of its own for each channel */
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
    NIBBLES,          /* signed, two in a byte, the lower for the first half of the panel; times the channel's scale */
    SMALL_BYTES       /* bytes; 255 times any two that are multiplied as a pair add up to less than 2^15 */
};

/* Places in the working memory count floats; places in constants count elements. A width or height of a linear layer's
   input is 1, or their product is the number of tokens. */
typedef struct {
    int32_t kind;
    int32_t source, other, result;      /* places in the working memory */
    int32_t height, width, channels;    /* of the source */
    int32_t out_height, out_width, out_channels;
    int32_t kernel_height, kernel_width, stride, padding;
    int32_t rectify;                    /* whether what is below zero becomes zero */
    int32_t heads;                      /* of attention */
    int32_t form;                       /* of the weights */
    int32_t weight;                     /* place among the floats, or in other forms among the bytes */
    int32_t bias, scale;                /* places among the floats; of sums of codes their offsets and factors */
    int32_t correction;                 /* place among the whole numbers: added to sums of codes */
    int32_t depth;                      /* numbers of a row that is multiplied; with a filter per channel, of a tap */
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
    uint32_t bits;
} Word;

/* 1.5 * 2^23: to a number of less than 2^22 it adds so much that the fraction is rounded away, half to even. */
#define ROUNDER 12582912.0f

static inline float round_to_even(float x)
{
    return (x + ROUNDER) - ROUNDER;
}

/* The numbers that whole blocks of codes stand for. Apart, so that no product is fused with a sum that follows, which
   would round differently. */
static APART void from_codes(const uint8_t *restrict codes, int32_t count, int32_t zero, float scale,
                             float *restrict out)
{
    int32_t i, j;
    for (i = 0; i < count; i += BLOCK)
        EACH_IN_BLOCK(j, i)
            out[j] = (float)(codes[j] - zero) * scale;
}

/* A block of codes: numbers clamped to low and high, rounded, half to even, and counted from zero. Clamping stands
   between what was multiplied and the sum that rounds: so the two are never fused, which would round differently. */
static inline void to_codes(const float *restrict x, float low, float high, int32_t zero, uint8_t *restrict out)
{
    float clamped[BLOCK];
    int32_t j;
    EACH_IN_BLOCK(j, 0)
        clamped[j] = x[j] > low ? x[j] : low;
    EACH_IN_BLOCK(j, 0)
        clamped[j] = clamped[j] < high ? clamped[j] : high;
    EACH_IN_BLOCK(j, 0)
        out[j] = (uint8_t)((int32_t)round_to_even(clamped[j]) + zero);
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
    power.bits = (uint32_t)((int32_t)whole + 127) << 23; /* 2^whole */
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
    float parts[BLOCK] = {0};
    int32_t i = 0, j;
    for (; i + BLOCK <= count; i += BLOCK)
        EACH_IN_BLOCK(j, 0)
            parts[j] += x[i + j];
    for (; i < count; i++)
        parts[0] += x[i];
    for (j = 1; j < BLOCK; j++)
        parts[0] += parts[j];
    return parts[0];
}

/* softmax(x * factor), in place; what fills up the last block is written over. */
static APART void softmax(float *restrict x, int32_t count, float factor)
{
    float parts[BLOCK], largest, share;
    int32_t i, j;
    for (i = count; i % BLOCK; i++)
        x[i] = -3.4e38f;
    EACH_IN_BLOCK(j, 0)
        parts[j] = x[j];
    for (i = BLOCK; i < count; i += BLOCK)
        EACH_IN_BLOCK(j, 0)
            parts[j] = x[i + j] > parts[j] ? x[i + j] : parts[j];
    largest = parts[0];
    for (j = 1; j < BLOCK; j++)
        largest = parts[j] > largest ? parts[j] : largest;
    for (i = 0; i < count; i += BLOCK)
        EACH_IN_BLOCK(j, 0)
            x[i + j] = exponential((x[i + j] - largest) * factor);
    share = 1.0f / sum_of(x, count);
    for (i = 0; i < count; i += BLOCK)
        EACH_IN_BLOCK(j, 0)
            x[i + j] *= share;
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
        const T left_start = T##_load(bias);                                                       \
        const T right_start = T##_load(bias + sizeof(T) / sizeof(float));                          \
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

enum { NARROW = LANES };
DEFINE_VECTOR(narrow, LANES)
DEFINE_TILES(narrow)
#ifdef WIDE_LANES
DEFINE_VECTOR(wide, WIDE_LANES)
DEFINE_TILES(wide)
#endif

/* out = a times the weights in panels, plus bias. Of a tile that is wider than what is left of the columns, the rest is
   thrown away. */
static APART void multiply(const float *a, ptrdiff_t a_stride, int32_t rows, int32_t depth, const float *panels,
                           int32_t columns, const float *bias, int32_t rectify, float *out, ptrdiff_t out_stride)
{
    float tile[MOST_ROWS * MOST_COLUMNS];
    const ptrdiff_t panel = (ptrdiff_t)depth * PANEL;
    int32_t column, row, width, count, i, j;
    for (column = 0; column < columns; column += width) {
        const int32_t rest = columns - column;
        const float *left = panels + column / PANEL * panel + column % PANEL;
        const float *own_bias = bias + column;
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

#elif VECTORS && defined(__AVX2__)
#include <immintrin.h>
#define CODE_LANES 8
#define CODE_ROWS 4
#define CODE_SAFE 1 /* few_dot is for SMALL_BYTES, whose sums of two products fit into 16 bits; safe_dot is for all */
typedef uint8_t Entry;
typedef __m256i few_sums, few_weights, few_codes, safe_codes;
typedef struct {
    __m256i first, second; /* of a sum two parts, side by side */
} safe_sums, safe_weights;
typedef int32_t loose_quad __attribute__((aligned(1), may_alias));
static inline few_codes few_repeat(const Entry *p) { return _mm256_set1_epi32(*(const loose_quad *)p); }
static inline few_weights few_load(const int8_t *p) { return _mm256_loadu_si256((const __m256i *)(const void *)p); }
static inline few_sums few_dot(few_sums sums, few_codes a, few_weights b)
{
    return _mm256_add_epi32(sums, _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), _mm256_set1_epi16(1)));
}
static inline void few_store(int32_t *p, few_sums sums) { _mm256_storeu_si256((__m256i *)(void *)p, sums); }
static inline few_sums few_zero(void) { return _mm256_setzero_si256(); }
static inline safe_codes safe_repeat(const Entry *p)
{
    return _mm256_cvtepu8_epi16(_mm_set1_epi32(*(const loose_quad *)p));
}
static inline safe_weights safe_load(const int8_t *p)
{
    const __m256i bytes = few_load(p);
    const safe_weights weights = {_mm256_cvtepi8_epi16(_mm256_castsi256_si128(bytes)),
                                  _mm256_cvtepi8_epi16(_mm256_extracti128_si256(bytes, 1))};
    return weights;
}
static inline safe_sums safe_dot(safe_sums sums, safe_codes a, safe_weights b)
{
    sums.first = _mm256_add_epi32(sums.first, _mm256_madd_epi16(a, b.first));
    sums.second = _mm256_add_epi32(sums.second, _mm256_madd_epi16(a, b.second));
    return sums;
}
static inline void safe_store(int32_t *p, safe_sums sums)
{
    few_store(p, _mm256_permute4x64_epi64(_mm256_hadd_epi32(sums.first, sums.second), 0xd8));
}
static inline safe_sums safe_zero(void)
{
    const safe_sums zero = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    return zero;
}

#elif VECTORS && (defined(__SSE2__) || defined(__wasm_simd128__))
#define CODE_LANES 4
#define CODE_ROWS 2
typedef int16_t Entry __attribute__((may_alias)); /* as two products of such are one operation */
#if defined(__SSE2__)
#include <emmintrin.h>
typedef int64_t loose_quad __attribute__((aligned(2), may_alias));
typedef __m128i Pairs;
static inline Pairs pairs_zero(void) { return _mm_setzero_si128(); }
static inline Pairs pairs_load(const int8_t *p)
{
    const __m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)p);
    return _mm_srai_epi16(_mm_unpacklo_epi8(bytes, bytes), 8);
}
static inline Pairs pairs_dot(Pairs sums, Pairs a, Pairs b) { return _mm_add_epi32(sums, _mm_madd_epi16(a, b)); }
static inline Pairs few_repeat(const Entry *p) { return _mm_set1_epi64x(*(const loose_quad *)p); }
static inline void pairs_join(int32_t *p, Pairs first, Pairs second)
{
    const __m128 one = _mm_castsi128_ps(first), other = _mm_castsi128_ps(second);
    const __m128i even = _mm_castps_si128(_mm_shuffle_ps(one, other, 0x88));
    const __m128i odd = _mm_castps_si128(_mm_shuffle_ps(one, other, 0xdd));
    _mm_storeu_si128((__m128i *)(void *)p, _mm_add_epi32(even, odd));
}
#else
#include <wasm_simd128.h>
typedef v128_t Pairs;
static inline Pairs pairs_zero(void) { return wasm_i32x4_const_splat(0); }
static inline Pairs pairs_load(const int8_t *p) { return wasm_i16x8_load8x8(p); }
static inline Pairs pairs_dot(Pairs sums, Pairs a, Pairs b) { return wasm_i32x4_add(sums, wasm_i32x4_dot_i16x8(a, b)); }
static inline Pairs few_repeat(const Entry *p) { return wasm_v128_load64_splat(p); }
static inline void pairs_join(int32_t *p, Pairs first, Pairs second)
{
    const v128_t even = wasm_i32x4_shuffle(first, second, 0, 2, 4, 6);
    wasm_v128_store(p, wasm_i32x4_add(even, wasm_i32x4_shuffle(first, second, 1, 3, 5, 7)));
}
#endif
typedef Pairs few_codes;
typedef struct {
    Pairs first, second; /* of a sum two parts, side by side */
} few_sums, few_weights;
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
static inline void few_store(int32_t *p, few_sums sums) { pairs_join(p, sums.first, sums.second); }
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
#ifdef CODE_SAFE
enum { safe_lanes = CODE_LANES };
DEFINE_CODE_TILES(safe)
#endif


/* ---- rows of a matrix: what each output sees ---- */

/* Writes what the kernel covers, tap after tap, for the outputs from first to first + count; beyond the picture lies
   border. */
#define DEFINE_GATHER(NAME, SOURCE, TARGET)                                                        \
    static APART void NAME##_border(TARGET border, int32_t count, TARGET *restrict out)            \
    {                                                                                              \
        int32_t i;                                                                                 \
        for (i = 0; i < count; i++)                                                                \
            out[i] = border;                                                                       \
    }                                                                                              \
    static APART void NAME##_line(const SOURCE *restrict source, int32_t count, TARGET *restrict out) \
    {                                                                                              \
        int32_t i, j;                                                                              \
        for (i = 0; i + BLOCK <= count; i += BLOCK)                                                \
            EACH_IN_BLOCK(j, 0)                                                                    \
                out[i + j] = (TARGET)source[i + j];                                                \
        for (; i < count; i++)                                                                     \
            out[i] = (TARGET)source[i];                                                            \
    }                                                                                              \
    static APART void NAME(const Step *s, const SOURCE *source, int32_t first, int32_t count,      \
                           TARGET border, TARGET *out)                                             \
    {                                                                                              \
        const int32_t line = s->kernel_width * s->channels;                                        \
        int32_t i, y;                                                                              \
        for (i = first; i < first + count; i++, out += s->depth) {                                 \
            const int32_t top = i / s->out_width * s->stride - s->padding;                         \
            const int32_t left = i % s->out_width * s->stride - s->padding;                        \
            const int32_t over = left + s->kernel_width - s->width;                                \
            const int32_t start = left < 0 ? -left * s->channels : 0;                              \
            const int32_t end = over > 0 ? line - over * s->channels : line;                       \
            TARGET *target = out;                                                                  \
            for (y = top; y < top + s->kernel_height; y++, target += line) {                       \
                const ptrdiff_t place = ((ptrdiff_t)y * s->width + left) * s->channels;            \
                if (y < 0 || y >= s->height) {                                                     \
                    NAME##_border(border, line, target);                                           \
                    continue;                                                                      \
                }                                                                                  \
                if (start > 0)                                                                     \
                    NAME##_border(border, start, target);                                          \
                NAME##_line(source + (place + start), end - start, target + start);                \
                if (end < line)                                                                    \
                    NAME##_border(border, line - end, target + end);                               \
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
static APART void expand(const Step *s, const Model *m, int32_t column, int32_t columns, float *restrict out)
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
                EACH_IN_BLOCK(j, 0)
                    target[j] = (float)bytes[place + j] * scale[j];
            } else if (s->form == NIBBLES) {
                for (j = 0; j < PANEL / 2; j++) {
                    const int32_t pair = (uint8_t)bytes[place / 2 + j];
                    target[j] = (float)(((pair & 15) ^ 8) - 8) * scale[j];
                    target[j + PANEL / 2] = (float)(((pair >> 4) ^ 8) - 8) * scale[j + PANEL / 2];
                }
            } else {
                EACH_IN_BLOCK(j, 0) {
                    const uint32_t low = (uint8_t)bytes[2 * (place + j)], high = (uint8_t)bytes[2 * (place + j) + 1];
                    Word half; /* with a float's fields, and an exponent that is too small by 112 */
                    half.bits = ((high & 127) << 8 | low) << 13;
                    target[j] = half.number * (high & 128 ? -5.192296858534828e33f : 5.192296858534828e33f);
                }
            }
        }
    }
}

static APART void do_products(const Step *s, const Model *m, float *work)
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
            gather(s, work + s->source, first, count, 0.0f, patches);
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

/* What a tile of sums of products of codes stands for: (sum + offset) * factor, as numbers or as codes. */
static APART void finish(const Step *s, const Model *m, const int32_t *restrict sums, int32_t rows, int32_t columns,
                         int32_t row, int32_t column, float *work)
{
    const int32_t *restrict correction = m->wholes + s->correction + column;
    const float *restrict offset = m->floats + s->bias + column, *restrict factor = m->floats + s->scale + column;
    const int32_t zero = s->out_zero;
    const float low = s->rectify ? 0.0f : (float)-zero, high = (float)(255 - zero);
    int32_t i, c, j;
    for (i = 0; i < rows; i++, sums += MOST_COLUMNS) {
        const ptrdiff_t place = (ptrdiff_t)(row + i) * s->out_channels + column;
        for (c = 0; c < columns; c += BLOCK) {
            const int32_t count = columns - c < BLOCK ? columns - c : BLOCK;
            float numbers[BLOCK];
            uint8_t codes[BLOCK], *out = (uint8_t *)(work + s->result) + place + c;
            EACH_IN_BLOCK(j, 0)
                numbers[j] = ((float)(sums[c + j] + correction[c + j]) + offset[c + j]) * factor[c + j];
            if (zero < 0) {
                for (j = 0; j < count; j++)
                    work[s->result + place + c + j] = s->rectify && numbers[j] < 0.0f ? 0.0f : numbers[j];
            } else if (count == BLOCK) {
                to_codes(numbers, low, high, zero, out);
            } else {
                to_codes(numbers, low, high, zero, codes);
                for (j = 0; j < count; j++)
                    out[j] = codes[j];
            }
        }
    }
}

/* Sums for a tile of so many columns, at most MOST_COLUMNS; returns of how many rows. */
static int32_t code_tile(const Step *s, const Entry *a, int32_t rows, const int8_t *panels, int32_t columns,
                         int32_t *sums)
{
    const ptrdiff_t depth = s->depth, panel = depth * PANEL;
    const int32_t quads = s->depth / QUAD;
    int32_t done = 0, column;
#ifdef CODE_WIDE_LANES
    if (columns > PANEL)
        return many_code_tile(a, depth, rows, quads, panels, panels + panel, sums);
#endif
    for (column = 0; column < columns; column += 2 * CODE_LANES) {
        const int8_t *left = panels + column / PANEL * panel + column % PANEL * QUAD;
        const int8_t *right = left + CODE_LANES * QUAD;
#ifdef CODE_SAFE
        if (s->form != SMALL_BYTES)
            done = safe_code_tile(a, depth, rows, quads, left, right, sums + column);
        else
#endif
            done = few_code_tile(a, depth, rows, quads, left, right, sums + column);
    }
    return done;
}

static APART void do_code_products(const Step *s, const Model *m, float *work)
{
    int32_t sums[MOST_ROWS * MOST_COLUMNS];
    const int32_t outputs = s->out_height * s->out_width;
    const uint8_t *source = (const uint8_t *)(work + s->source);
    Entry *patches = (Entry *)(void *)(work + s->patches);
    int32_t first, count, column, width, row, done;
    for (first = 0; first < outputs; first += count) {
        count = outputs - first < s->rows ? outputs - first : s->rows;
        gather_codes(s, source, first, count, (Entry)s->zero, patches);
        for (column = 0; column < s->out_channels; column += width) {
            const int32_t rest = s->out_channels - column;
            const int8_t *panels = m->bytes + s->weight + (ptrdiff_t)column * s->depth;
            width = rest > PANEL ? MOST_COLUMNS : PANEL;
            for (row = 0; row < count; row += done) {
                done = code_tile(s, patches + (ptrdiff_t)row * s->depth, count - row, panels, width, sums);
                finish(s, m, sums, done, rest < width ? rest : width, first + row, column, work);
            }
        }
    }
}

/* ---- channel by channel ---- */

/* Where in the source, and among its weights, a filter's tap reads its first channel. */
typedef struct {
    int32_t pixel, weight;
} Tap;

/* The taps of an output that lie in the picture, at most MOST_TAPS; returns how many. */
static APART int32_t find_taps(const Step *s, int32_t output, Tap *taps)
{
    const int32_t top = output / s->out_width * s->stride - s->padding;
    const int32_t left = output % s->out_width * s->stride - s->padding;
    int32_t count = 0, y, x;
    for (y = 0; y < s->kernel_height; y++)
        for (x = 0; x < s->kernel_width; x++)
            if (top + y >= 0 && top + y < s->height && left + x >= 0 && left + x < s->width) {
                taps[count].pixel = ((top + y) * s->width + left + x) * s->channels;
                taps[count++].weight = (y * s->kernel_width + x) * s->depth;
            }
    return count;
}

/* One filter per channel. */
static APART void do_depthwise(const Step *s, const Model *m, float *work)
{
    Tap taps[MOST_TAPS];
    const float *source = work + s->source, *weights = m->floats + s->weight, *bias = m->floats + s->bias;
    float *out = work + s->result;
    int32_t i, k, c;
    for (i = 0; i < s->out_height * s->out_width; i++, out += s->channels) {
        const int32_t count = find_taps(s, i, taps);
        for (c = 0; c < s->channels; c += 2 * NARROW) {
            narrow first = narrow_load(bias + c), second = narrow_load(bias + c + NARROW);
            for (k = 0; k < count; k++) {
                const float *pixel = source + taps[k].pixel + c, *weight = weights + taps[k].weight + c;
                first += narrow_load(pixel) * narrow_load(weight);
                second += narrow_load(pixel + NARROW) * narrow_load(weight + NARROW);
            }
            narrow_store(out + c, first, s->rectify);
            narrow_store(out + c + NARROW, second, s->rectify);
        }
    }
}

/* Sums for a block of channels, tap by tap. A product of an unsigned and a signed byte fits into 16 bits. */
#if VECTORS && defined(__AVX2__)
typedef struct {
    __m256i first, second;
} TapSums;
static inline TapSums tap_zero(void)
{
    const TapSums zero = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    return zero;
}
static inline TapSums tap_add(TapSums sums, const uint8_t *pixel, int32_t zero, const int8_t *tap)
{
    const __m256i codes = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(const void *)pixel));
    const __m256i weights = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)tap));
    const __m256i products = _mm256_mullo_epi16(_mm256_sub_epi16(codes, _mm256_set1_epi16((int16_t)zero)), weights);
    sums.first = _mm256_add_epi32(sums.first, _mm256_cvtepi16_epi32(_mm256_castsi256_si128(products)));
    sums.second = _mm256_add_epi32(sums.second, _mm256_cvtepi16_epi32(_mm256_extracti128_si256(products, 1)));
    return sums;
}
static inline void tap_store(int32_t *p, TapSums sums)
{
    _mm256_storeu_si256((__m256i *)(void *)p, sums.first);
    _mm256_storeu_si256((__m256i *)(void *)(p + BLOCK / 2), sums.second);
}
#else
#if defined(__clang__) /* which keeps the sums in registers only if it may unroll, where GCC does only if it may not */
#define EACH_SUM(j) for (j = 0; j < BLOCK; j++)
#else
#define EACH_SUM(j) EACH_IN_BLOCK(j, 0)
#endif
typedef struct {
    int32_t of[BLOCK];
} TapSums;
static inline TapSums tap_zero(void)
{
    const TapSums zero = {{0}};
    return zero;
}
static inline TapSums tap_add(TapSums sums, const uint8_t *restrict pixel, int32_t zero, const int8_t *restrict tap)
{
    int32_t j;
    EACH_SUM(j)
        sums.of[j] += (int16_t)((int16_t)(pixel[j] - zero) * tap[j]);
    return sums;
}
static inline void tap_store(int32_t *p, TapSums sums)
{
    int32_t j;
    EACH_SUM(j)
        p[j] = sums.of[j];
}
#endif

static APART void do_code_depthwise(const Step *s, const Model *m, float *work)
{
    Tap taps[MOST_TAPS];
    int32_t sums[MOST_COLUMNS];
    const uint8_t *source = (const uint8_t *)(work + s->source);
    const int8_t *weights = m->bytes + s->weight;
    int32_t i, k, c, start, columns;
    for (i = 0; i < s->out_height * s->out_width; i++) {
        const int32_t count = find_taps(s, i, taps);
        for (start = 0; start < s->channels; start += columns) {
            columns = s->channels - start < MOST_COLUMNS ? s->channels - start : MOST_COLUMNS;
            for (c = 0; c < columns; c += BLOCK) {
                TapSums all = tap_zero();
                for (k = 0; k < count; k++)
                    all = tap_add(all, source + taps[k].pixel + start + c, s->zero,
                                  weights + taps[k].weight + start + c);
                tap_store(sums + c, all);
            }
            finish(s, m, sums, 1, columns, i, start, work);
        }
    }
}

#define DEFINE_MAXIMUM(NAME, TYPE)                                                                 \
    static void NAME(const Step *s, const TYPE *restrict source, TYPE *restrict out)               \
    {                                                                                              \
        TYPE largest[BLOCK];                                                                       \
        const ptrdiff_t line = (ptrdiff_t)s->width * s->channels;                                  \
        int32_t i, y, x, c, j;                                                                     \
        for (i = 0; i < s->out_height * s->out_width; i++, out += s->channels) {                   \
            const TYPE *corner = source + i / s->out_width * s->stride * line                      \
                                 + (ptrdiff_t)(i % s->out_width) * s->stride * s->channels;        \
            for (c = 0; c < s->channels; c += BLOCK) {                                             \
                EACH_IN_BLOCK(j, 0)                                                                \
                    largest[j] = corner[c + j];                                                    \
                for (y = 0; y < s->kernel_height; y++)                                             \
                    for (x = 0; x < s->kernel_width; x++) {                                        \
                        const TYPE *pixel = corner + y * line + (ptrdiff_t)x * s->channels + c;    \
                        EACH_IN_BLOCK(j, 0)                                                        \
                            largest[j] = pixel[j] > largest[j] ? pixel[j] : largest[j];            \
                    }                                                                              \
                EACH_IN_BLOCK(j, 0)                                                                \
                    out[c + j] = largest[j];                                                       \
            }                                                                                      \
        }                                                                                          \
    }

DEFINE_MAXIMUM(maximum, float)
DEFINE_MAXIMUM(code_maximum, uint8_t)

static APART void do_mean(const Step *s, float *work)
{
    const float *restrict source = work + s->source;
    float *restrict out = work + s->result;
    const int32_t pixels = s->height * s->width;
    int32_t i, c, j;
    for (c = 0; c < s->channels; c += BLOCK) {
        float sums[BLOCK] = {0};
        for (i = 0; i < pixels; i++)
            EACH_IN_BLOCK(j, 0)
                sums[j] += source[(ptrdiff_t)i * s->channels + c + j];
        EACH_IN_BLOCK(j, 0)
            out[c + j] = sums[j] / (float)pixels;
    }
}

static APART void do_code_mean(const Step *s, const Model *m, float *work)
{
    const uint8_t *restrict source = (const uint8_t *)(work + s->source);
    uint8_t *restrict out = (uint8_t *)(work + s->result);
    const int32_t pixels = s->height * s->width;
    const float factor = m->floats[s->scale], low = (float)-s->out_zero, high = (float)(255 - s->out_zero);
    int32_t i, c, j;
    for (c = 0; c < s->channels; c += BLOCK) {
        int32_t sums[BLOCK] = {0};
        float means[BLOCK];
        for (i = 0; i < pixels; i++)
            EACH_IN_BLOCK(j, 0)
                sums[j] += source[(ptrdiff_t)i * s->channels + c + j] - s->zero;
        EACH_IN_BLOCK(j, 0)
            means[j] = (float)sums[j] / (float)pixels * factor;
        to_codes(means, low, high, s->out_zero, out + c);
    }
}

static APART void do_normalize(const Step *s, const Model *m, float *work)
{
    const float *restrict source = work + s->source;
    const float *restrict weight = m->floats + s->weight, *restrict bias = m->floats + s->bias;
    float *restrict out = work + s->result;
    int32_t i, c, j;
    for (i = 0; i < s->height * s->width; i++, source += s->channels, out += s->channels) {
        const float mean = sum_of(source, s->channels) / (float)s->channels;
        float factor;
        for (c = 0; c < s->channels; c += BLOCK)
            EACH_IN_BLOCK(j, c)
                out[j] = (source[j] - mean) * (source[j] - mean);
        factor = inverse_root(sum_of(out, s->channels) / (float)s->channels + m->floats[s->scale]);
        for (c = 0; c < s->channels; c += BLOCK)
            EACH_IN_BLOCK(j, c)
                out[j] = (source[j] - mean) * factor * weight[j] + bias[j];
    }
}

/* ---- attention ---- */

/* A matrix [rows, columns], whose numbers lie so many steps apart, in panels; their rest is zero. */
static APART void arrange(const float *matrix, ptrdiff_t row_step, ptrdiff_t column_step, int32_t rows,
                          int32_t columns, float *restrict out)
{
    int32_t panel, k, j;
    for (panel = 0; panel < columns; panel += PANEL)
        for (k = 0; k < rows; k++, out += PANEL)
            EACH_IN_BLOCK(j, 0)
                out[j] = panel + j < columns ? matrix[k * row_step + (panel + j) * column_step] : 0.0f;
}

/* softmax(queries keys^T / sqrt(width)) values, for each head; queries, keys and values lie side by side. */
static APART void do_attention(const Step *s, const Model *m, float *work)
{
    const int32_t tokens = s->height * s->width, width = s->out_channels, part = width / s->heads;
    const ptrdiff_t stride = s->channels, line = (tokens + BLOCK - 1) / BLOCK * BLOCK;
    const float *zeros = m->floats + s->bias;
    float *restrict scores = work + s->patches, *panels = work + s->panels;
    int32_t head, first, count, i;
    for (head = 0; head < width; head += part) {
        const float *queries = work + s->source + head, *keys = queries + width, *values = keys + width;
        float *out = work + s->result + head, *value_panels = panels + line * part;
        arrange(keys, 1, stride, part, tokens, panels);
        arrange(values, stride, 1, tokens, part, value_panels);
        for (first = 0; first < tokens; first += count) {
            count = tokens - first < s->rows ? tokens - first : s->rows;
            multiply(queries + first * stride, stride, count, part, panels, tokens, zeros, 0, scores, line);
            for (i = 0; i < count; i++)
                softmax(scores + i * line, tokens, m->floats[s->scale]);
            multiply(scores, line, count, tokens, value_panels, part, zeros, 0, out + (ptrdiff_t)first * width, width);
        }
    }
}

/* ---- number by number ---- */

#define EACH_BLOCK                                                                                 \
    for (i = 0; i < size; i += BLOCK)                                                              \
        EACH_IN_BLOCK(j, i)

static APART void do_code_add(const Step *s, const Model *m, float *work)
{
    float first[16 * BLOCK], second[16 * BLOCK];
    const uint8_t *one = (const uint8_t *)(work + s->source), *other = (const uint8_t *)(work + s->other);
    uint8_t *out = (uint8_t *)(work + s->result);
    const float *factors = m->floats + s->scale;
    const float low = (float)-s->out_zero, high = (float)(255 - s->out_zero);
    const int32_t size = s->height * s->width * s->channels;
    int32_t start, count, i, j;
    for (start = 0; start < size; start += count) {
        count = size - start < 16 * BLOCK ? size - start : 16 * BLOCK;
        from_codes(one + start, count, s->zero, factors[0], first);
        from_codes(other + start, count, s->other_zero, factors[1], second);
        for (i = 0; i < count; i += BLOCK) {
            EACH_IN_BLOCK(j, i)
                first[j] += second[j];
            to_codes(first + i, low, high, s->out_zero, out + start + i);
        }
    }
}

static APART void do_numbers(const Step *s, const Model *m, float *work)
{
    const float *restrict source = work + s->source;
    const float *restrict other = s->kind == ADD ? work + s->other : m->floats + s->bias;
    const uint8_t *restrict codes = (const uint8_t *)(work + s->source);
    const uint8_t *restrict table = (const uint8_t *)(m->bytes + s->weight);
    float *restrict out = work + s->result;
    uint8_t *restrict out_codes = (uint8_t *)(work + s->result);
    const int32_t size = s->height * s->width * s->channels, out_zero = s->out_zero;
    const float scale = m->floats[s->scale], low = (float)-out_zero, high = (float)(255 - out_zero);
    float quotients[BLOCK];
    int32_t i, j;
    if (s->kind == QUANTIZE) {
        for (i = 0; i < size; i += BLOCK) {
            EACH_IN_BLOCK(j, 0)
                quotients[j] = source[i + j] / scale;
            to_codes(quotients, low, high, out_zero, out_codes + i);
        }
    } else if (s->kind == DEQUANTIZE) {
        from_codes(codes, size, s->zero, scale, out);
    } else if (s->kind == LOOK_UP) {
        EACH_BLOCK out_codes[j] = table[codes[j]];
    } else if (s->kind == GELU) {
        EACH_BLOCK out[j] = gelu(source[j]);
    } else { /* ADD and ADD_CONSTANT */
        EACH_BLOCK out[j] = source[j] + other[j];
    }
}

/* ---- a model ---- */

/* The picture as floats: height, width, channels; from right to left if it is to be mirrored. */
static APART void read_pixels(const Step *s, const Model *m, const uint8_t *pixels, int mirrored, float *restrict out)
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

static APART void read_row(const Step *s, const float *row, float *restrict out)
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
        case MEAN: do_mean(s, work); break;
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
    float *logits = work + m->logits, factor = 1.0f / m->temperature;
    int32_t i, best = 0;
    run(m, input, 0, work);
    if (m->mirror) {
        for (i = 0; i < m->classes; i++)
            probabilities[i] = logits[i];
        run(m, input, 1, work);
        for (i = 0; i < m->classes; i++)
            logits[i] += probabilities[i];
        factor *= 0.5f;
    }
    softmax(logits, m->classes, factor);
    for (i = 0; i < m->classes; i++) {
        probabilities[i] = logits[i];
        if (probabilities[i] > probabilities[best])
            best = i;
    }
    return (int)best;
}
