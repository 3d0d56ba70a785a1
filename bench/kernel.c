/* What ingest does with each byte of a log, in two walks: cut into lines and digest them; take combined lines apart.
 *
 * A prototype for bench/kernel.py, which says what it is measured against. Only the ordinary road is here: a line that is odd in
 * any way (escapes, quotes left open, further fields, a request that is none) is named, and left to the product's own code.
 * Nothing is read outside of the buffer, and nothing kept from call to call.
 *
 * CRC-32: zlib's polynomial; folding by carry-less multiplication after Gopal et al., "Fast CRC Computation for Generic
 * Polynomials Using PCLMULQDQ Instruction" (Intel, 2009); slicing by eight elsewhere. Calendar: days_from_civil of
 * https://howardhinnant.github.io/date_algorithms.html. Format: https://httpd.apache.org/docs/2.4/logs.html.
 */
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#define FOLDING 1
#endif

typedef uint8_t u8;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int64_t i64;

/* ---------------------------------------------------------------------------------------------------------------- CRC-32 */

static u32 tables[8][256];

static void __attribute__((constructor)) make_tables(void) {
    for (u32 byte = 0; byte < 256; byte++) {
        u32 crc = byte;
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
        tables[0][byte] = crc;
    }
    for (int number = 1; number < 8; number++)
        for (u32 byte = 0; byte < 256; byte++)
            tables[number][byte] = tables[number - 1][byte] >> 8 ^ tables[0][tables[number - 1][byte] & 0xFF];
}

static u32 crc_by_tables(u32 crc, const u8 *at, i64 length) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    for (; length >= 8; at += 8, length -= 8) {
        u64 word;
        memcpy(&word, at, 8);
        word ^= crc;
        crc = 0;
        for (int place = 0; place < 8; place++) crc ^= tables[7 - place][word >> 8 * place & 0xFF];
    }
#endif
    for (; length > 0; at++, length--) crc = crc >> 8 ^ tables[0][(crc ^ *at) & 0xFF];
    return crc;
}

#ifdef FOLDING
#define CLMUL __attribute__((target("pclmul,sse4.1")))

static inline CLMUL __m128i folded(__m128i value, __m128i factors, __m128i next) {
    __m128i low = _mm_clmulepi64_si128(value, factors, 0x00), high = _mm_clmulepi64_si128(value, factors, 0x11);
    return _mm_xor_si128(_mm_xor_si128(low, high), next);
}

/* Whole blocks of 16 bytes, four at least; the constants are x^n mod P, bits reversed, as the paper has them. */
static CLMUL u32 crc_by_folding(u32 crc, const u8 *at, i64 length) {
    const __m128i by_four = _mm_set_epi64x(0x01c6e41596, 0x0154442bd4), by_one = _mm_set_epi64x(0x00ccaa009e, 0x01751997d0);
    const __m128i by_half = _mm_set_epi64x(0, 0x0163cd6124), barrett = _mm_set_epi64x(0x01f7011641, 0x01db710641);
    const __m128i low_word = _mm_setr_epi32(-1, 0, -1, 0);
    const __m128i *block = (const __m128i *)at;
    __m128i a = _mm_xor_si128(_mm_loadu_si128(block), _mm_cvtsi32_si128((int)crc));
    __m128i b = _mm_loadu_si128(block + 1), c = _mm_loadu_si128(block + 2), d = _mm_loadu_si128(block + 3);
    for (block += 4, length -= 64; length >= 64; block += 4, length -= 64) {
        a = folded(a, by_four, _mm_loadu_si128(block));
        b = folded(b, by_four, _mm_loadu_si128(block + 1));
        c = folded(c, by_four, _mm_loadu_si128(block + 2));
        d = folded(d, by_four, _mm_loadu_si128(block + 3));
    }
    a = folded(folded(folded(a, by_one, b), by_one, c), by_one, d);
    for (; length >= 16; block++, length -= 16) a = folded(a, by_one, _mm_loadu_si128(block));
    b = _mm_xor_si128(_mm_clmulepi64_si128(a, by_one, 0x10), _mm_srli_si128(a, 8));
    a = _mm_xor_si128(_mm_clmulepi64_si128(_mm_and_si128(b, low_word), by_half, 0x00), _mm_srli_si128(b, 4));
    b = _mm_clmulepi64_si128(_mm_and_si128(a, low_word), barrett, 0x10);
    b = _mm_clmulepi64_si128(_mm_and_si128(b, low_word), barrett, 0x00);
    return (u32)_mm_extract_epi32(_mm_xor_si128(a, b), 1);
}
#endif

u32 crc_of(const u8 *at, i64 length, int fold) {
    u32 crc = 0xFFFFFFFFu;
#ifdef FOLDING
    if (fold && length >= 64) {
        i64 whole = length & ~(i64)15;
        crc = crc_by_folding(crc, at, whole);
        at += whole, length -= whole;
    }
#endif
    (void)fold;
    return ~crc_by_tables(crc, at, length);
}

int can_fold(void) {
#ifdef FOLDING
    return __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");
#else
    return 0;
#endif
}

/* ----------------------------------------------------------------------------------------------------------------- lines */

enum { GOOD, EMPTY, LONG, NUL }; /* as ingest.batches numbers its faults */

struct cutting {
    i64 scanned, start, lines, nul, high, faulty;
};
/* Where it stands: first byte not looked at; first byte of the line that is open; lines ended; the last NUL (-1: none);
 * whether there is a byte of more than one; lines with a fault. */

u8 fault_of(i64 start, i64 end, i64 nul, i64 line_bytes) {
    if (end == start) return EMPTY;
    if (end - start > line_bytes) return LONG;
    return nul >= start ? NUL : GOOD;
}

/* A bit for each of up to 64 bytes: newlines and NULs. */
static inline u64 marked(const u8 *at, i64 length, i64 *high) {
    u64 found = 0;
#ifdef FOLDING
    if (length >= 64) {
        const __m128i newline = _mm_set1_epi8('\n'), zero = _mm_setzero_si128();
        u64 negative = 0;
        for (int part = 0; part < 4; part++) {
            __m128i bytes = _mm_loadu_si128((const __m128i *)at + part);
            __m128i either = _mm_or_si128(_mm_cmpeq_epi8(bytes, newline), _mm_cmpeq_epi8(bytes, zero));
            found |= (u64)(u32)_mm_movemask_epi8(either) << 16 * part;
            negative |= (u32)_mm_movemask_epi8(bytes);
        }
        *high |= negative != 0;
        return found;
    }
#endif
    for (i64 place = 0; place < length && place < 64; place++) {
        found |= (u64)(at[place] == '\n' || at[place] == 0) << place;
        *high |= at[place] >> 7;
    }
    return found;
}

/* Go on cutting up to `to`, or until `most` lines have ended: newlines, ends without a carriage return, CRC-32, faults. */
void cut(const u8 *data, i64 to, i64 most, i64 line_bytes, int fold, struct cutting *state, i64 *newlines, i64 *starts, i64 *ends,
         u32 *digests, u8 *faults) {
    struct cutting s = *state;
    while (s.scanned < to && s.lines < most) {
        i64 base = s.scanned, length = to - base < 64 ? to - base : 64;
        u64 bits = marked(data + base, length, &s.high);
        s.scanned = base + length;
        for (; bits; bits &= bits - 1) {
            i64 at = base + __builtin_ctzll(bits);
            if (!data[at]) {
                s.nul = at;
                continue;
            }
            i64 end = at - (at > s.start && data[at - 1] == '\r');
            newlines[s.lines] = at, starts[s.lines] = s.start, ends[s.lines] = end;
            digests[s.lines] = crc_of(data + s.start, at - s.start, fold);
            faults[s.lines] = fault_of(s.start, end, s.nul, line_bytes);
            s.faulty += faults[s.lines] != GOOD;
            s.start = at + 1;
            if (++s.lines == most) break;
        }
    }
    *state = s;
}

/* ---------------------------------------------------------------------------------------------------------------- parse */

enum { ADDRESS, USER, METHOD, TARGET, VERSION, REFERRER, AGENT, TEXTS };

struct text {
    int32_t *offsets;
    u8 *bytes;
    u8 *valid;
    i64 used, nulls;
};

struct columns {
    struct text texts[TEXTS];
    i64 *time;
    int32_t *status;
    i64 *size;
    u8 *status_valid, *size_valid;
    i64 *numbers, *odd;
    i64 rows, odd_lines, status_nulls, size_nulls;
};
/* Texts as Arrow keeps them, 16 bytes of room behind each column's bytes; bits of validity, all zero at first; numbers of the
 * lines that are rows, and of those left to others. */

/* The first `one` or `other` at or after `at`; `end` when there is none. `limit` ends the buffer. */
static inline const u8 *find(const u8 *at, const u8 *end, const u8 *limit, u8 one, u8 other) {
#ifdef FOLDING
    const __m128i first = _mm_set1_epi8((char)one), second = _mm_set1_epi8((char)other);
    for (; at < end && limit - at >= 16; at += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)at);
        int found = _mm_movemask_epi8(_mm_or_si128(_mm_cmpeq_epi8(bytes, first), _mm_cmpeq_epi8(bytes, second)));
        if (found) {
            at += __builtin_ctz((unsigned)found);
            return at < end ? at : end;
        }
    }
#endif
    while (at < end && *at != one && *at != other) at++;
    return at < end ? at : end;
}

static inline void append(struct text *column, i64 row, const u8 *at, const u8 *end, const u8 *limit, int null) {
    i64 length = end - at;
    if (null) {
        column->nulls++;
        length = 0;
    } else {
        column->valid[row >> 3] |= (u8)(1 << (row & 7));
    }
    u8 *to = column->bytes + column->used;
    if (limit - at >= length + 16)
        for (i64 place = 0; place < length; place += 16) memcpy(to + place, at + place, 16);
    else
        memcpy(to, at, (size_t)length);
    column->used += length;
    column->offsets[row + 1] = (int32_t)column->used;
}

/* Whether it is a dash alone, by which access logs mean that there is no value. */
static inline int is_dash(const u8 *at, const u8 *end) { return end - at == 1 && *at == '-'; }

/* Decimal digits that fit, 1; a dash, 0; anything else, -1. */
static inline int whole_number(const u8 *at, const u8 *end, i64 *value) {
    i64 length = end - at;
    u64 total = 0;
    if (is_dash(at, end)) return 0;
    if (length < 1 || length > 19) return -1;
    for (; at < end; at++) {
        if ((u8)(*at - '0') > 9) return -1;
        total = total * 10 + (*at - '0');
    }
    *value = (i64)total;
    return total <= INT64_MAX ? 1 : -1;
}

/* So many digits; negative when one is none. */
static inline i64 digits(const u8 *at, int count) {
    i64 value = 0, wrong = 0;
    for (int place = 0; place < count; place++) {
        wrong |= (u8)(at[place] - '0') > 9;
        value = value * 10 + (at[place] - '0');
    }
    return wrong ? -1 : value;
}

struct day {
    u8 text[18]; /* date and zone of the time before */
    i64 start;   /* its midnight in UTC, microseconds; meaningless when not known */
    int known;
};

static int month_of(const u8 *at) {
    static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    for (int number = 0; number < 12; number++)
        if (!memcmp(names + 3 * number, at, 3)) return number + 1;
    return 0;
}

static int read_day(const u8 *at, struct day *day) {
    static const i64 longest[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    i64 number = digits(at, 2), year = digits(at + 7, 4), hours = digits(at + 22, 2), minutes = digits(at + 24, 2);
    int month = month_of(at + 3), leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (at[2] != '/' || at[6] != '/' || at[11] != ':' || at[20] != ' ' || (at[21] != '+' && at[21] != '-') || !month) return 0;
    if (number < 1 || year < 0 || number > longest[month - 1] - (month == 2 && !leap)) return 0;
    if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59) return 0;
    i64 shifted = year - (month <= 2), era = (shifted >= 0 ? shifted : shifted - 399) / 400, of_era = shifted - era * 400;
    i64 of_year = (153 * ((month + 9) % 12) + 2) / 5 + number - 1;
    i64 days = era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
    i64 east = (hours * 60 + minutes) * 60 * (at[21] == '-' ? -1 : 1);
    day->start = (days * 86400 - east) * 1000000;
    memcpy(day->text, at, 12), memcpy(day->text + 12, at + 20, 6);
    return day->known = 1;
}

/* `22/Jan/2019:03:56:14 +0330` as microseconds from 1970 up to the year 9999; -1 when it is no such time. */
static inline i64 time_of(const u8 *at, struct day *day) {
    i64 hour = digits(at + 12, 2), minute = digits(at + 15, 2), second = digits(at + 18, 2);
    if (at[14] != ':' || at[17] != ':' || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60) return -1;
    if (!day->known || memcmp(day->text, at, 12) || memcmp(day->text + 12, at + 20, 6))
        if (!read_day(at, day)) return -1;
    i64 micros = day->start + (hour * 3600 + minute * 60 + second) * 1000000;
    return micros < 253402300800000000 ? micros : -1;
}

/* Whether it is `[A-Za-z][A-Za-z0-9_-]{0,31}`. */
static inline int is_method(const u8 *at, const u8 *end) {
    if (end - at < 1 || end - at > 32 || (u8)((*at | 32) - 'a') > 25) return 0;
    for (; at < end; at++)
        if ((u8)((*at | 32) - 'a') > 25 && (u8)(*at - '0') > 9 && *at != '_' && *at != '-') return 0;
    return 1;
}

/* Whether `HTTP/` and a digit stand here, after a blank. */
static inline int is_protocol(const u8 *at) {
    return at[-1] == ' ' && !memcmp(at, "HTTP/", 5) && (u8)(at[5] - '0') <= 9;
}

/* The last blank of a request that a version follows: `HTTP/1.1` or `HTTP/2`; NULL when there is none. */
static inline const u8 *version_of(const u8 *at, const u8 *end) {
    if (end - at > 9 && is_protocol(end - 8) && end[-2] == '.' && (u8)(end[-1] - '0') <= 9) return end - 9;
    return end - at > 7 && is_protocol(end - 6) ? end - 7 : NULL;
}

/* One line as a row; 0 when it is left to others, and then nothing of it is kept. */
static int take_apart(const u8 *at, const u8 *end, const u8 *limit, struct columns *out, struct day *day) {
    i64 row = out->rows, status = 0, size = 0;
    const u8 *address = at, *blank = find(at, end, limit, ' ', ' ');
    if (end - blank < 3 || blank[1] != '-' || blank[2] != ' ') return 0;
    const u8 *user = blank + 3, *user_end = find(user, end, limit, ' ', '\\');
    if (end - user_end < 31 || user_end[0] != ' ' || user_end[1] != '[' || memcmp(user_end + 28, "] \"", 3)) return 0;
    i64 micros = time_of(user_end + 2, day);
    const u8 *request = user_end + 31, *request_end = find(request, end, limit, '"', '\\');
    if (micros < 0 || end - request_end < 2 || request_end[0] != '"' || request_end[1] != ' ') return 0;
    const u8 *code = request_end + 2, *code_end = find(code, end, limit, ' ', ' ');
    if (code_end == end) return 0;
    const u8 *count = code_end + 1, *count_end = find(count, end, limit, ' ', ' ');
    int has_status = whole_number(code, code_end, &status), has_size = whole_number(count, count_end, &size);
    if (has_status < 0 || has_size < 0 || (has_status && (status < 100 || status > 999))) return 0;
    if (end - count_end < 2 || count_end[1] != '"') return 0;
    const u8 *referrer = count_end + 2, *referrer_end = find(referrer, end, limit, '"', '\\');
    if (end - referrer_end < 3 || memcmp(referrer_end, "\" \"", 3)) return 0;
    const u8 *agent = referrer_end + 3, *agent_end = find(agent, end, limit, '"', '\\');
    if (agent_end + 1 != end || *agent_end != '"') return 0;
    const u8 *first = find(request, request_end, limit, ' ', ' '), *last = version_of(request, request_end);
    if (!last || last <= first + 1 || !is_method(request, first)) return 0;
    append(&out->texts[ADDRESS], row, address, blank, limit, is_dash(address, blank));
    append(&out->texts[USER], row, user, user_end, limit, is_dash(user, user_end));
    append(&out->texts[METHOD], row, request, first, limit, 0);
    append(&out->texts[TARGET], row, first + 1, last, limit, 0);
    append(&out->texts[VERSION], row, last + 6, request_end, limit, 0);
    append(&out->texts[REFERRER], row, referrer, referrer_end, limit, is_dash(referrer, referrer_end));
    append(&out->texts[AGENT], row, agent, agent_end, limit, is_dash(agent, agent_end));
    out->time[row] = micros, out->status[row] = (int32_t)status, out->size[row] = size;
    out->status_valid[row >> 3] |= (u8)(has_status << (row & 7)), out->size_valid[row >> 3] |= (u8)(has_size << (row & 7));
    out->status_nulls += !has_status, out->size_nulls += !has_size;
    out->rows++;
    return 1;
}

/* Take lines of the combined format apart; each is a row or odd. */
void take_lines_apart(const u8 *data, i64 length, const i64 *starts, const i64 *ends, i64 lines, struct columns *out) {
    struct day day = {.known = 0};
    for (i64 line = 0; line < lines; line++) {
        i64 row = out->rows;
        if (take_apart(data + starts[line], data + ends[line], data + length, out, &day))
            out->numbers[row] = line;
        else
            out->odd[out->odd_lines++] = line;
    }
}
