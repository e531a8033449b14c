/* metabit_lines.h: a network behind lines of text, for the examples of this package.
 *
 *   p 12 7 255      predicts the class of these numbers
 *   l 2 12 7 255    learns that they belong to class 2
 *
 * The functions take one character at a time and store no line. Include this header in one file: it defines image and memories. */
#ifndef METABIT_LINES_H
#define METABIT_LINES_H

#include "metabit.h"
#include "@name@_image.h"

#ifdef @NAME@_LOW /* the model was made for numbers with a fraction */
#include "metabit_float.h"
typedef float lines_number;
typedef float lines_wide;
#define LINES_POINT 1
#else
typedef @NAME@_FEATURE_TYPE lines_number;
typedef int32_t lines_wide;
#define LINES_POINT 0
#endif

#ifdef MB_WITHOUT_LEARN
static uint32_t lines_arena[@NAME@_ARENA_WORDS_PREDICT];
#else
static uint32_t lines_state[@NAME@_STATE_WORDS], lines_arena[@NAME@_ARENA_WORDS];
#endif
#ifdef @NAME@_CLASS_NAMES
static const char *const lines_names[@NAME@_CLASSES] = @NAME@_CLASS_NAMES;
#endif

static struct {
    mb_model model;
    lines_number numbers[@NAME@_FEATURES];
    uint32_t label, count; /* of the numbers of this line, the label among them */
    lines_wide value;      /* the number that is being read */
    int digits, decimals, negative, point, bad;
    char command; /* 0 at the start of a line */
    char text[160];
    size_t end;
} lines;

/* Opens the model. Call it once. */
static mb_status lines_start(void)
{
    const mb_status status = mb_open(&lines.model, @name@_image, sizeof @name@_image);
    if (status != MB_OK) {
        return status;
    }
#ifdef MB_WITHOUT_LEARN
    return mb_attach(&lines.model, NULL, 0, lines_arena, sizeof lines_arena);
#else
    return mb_attach(&lines.model, lines_state, sizeof lines_state, lines_arena, sizeof lines_arena);
#endif
}

static void lines_say(const char *text)
{
    while (*text != 0 && lines.end + 1 < sizeof lines.text) {
        lines.text[lines.end++] = *text++;
    }
    lines.text[lines.end] = 0;
}

static void lines_say_number(uint32_t number)
{
    char digits[11];
    size_t at = sizeof digits;
    digits[--at] = 0;
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    lines_say(&digits[at]);
}

static void lines_say_class(uint16_t label)
{
    lines_say("class ");
    lines_say_number(label);
#ifdef @NAME@_CLASS_NAMES
    if (lines_names[label][0] != 0) { /* a class that is still to come has no name */
        lines_say(" (");
        lines_say(lines_names[label]);
        lines_say(")");
    }
#endif
}

/* Ends the number that is being read, if there is one. */
static void lines_end_number(void)
{
    if (lines.digits == 0) {
        lines.bad |= lines.negative || lines.point; /* a sign or a point alone */
    } else {
#ifdef @NAME@_LOW
        float tenths = 1;
        for (; lines.decimals > 0; lines.decimals--) {
            tenths *= 10;
        }
        lines.value /= tenths; /* rounded as by a computer, for up to seven digits */
#endif
        const lines_wide value = lines.negative ? -lines.value : lines.value;
        const uint32_t at = lines.count++ - (lines.command == 'l');
        if (lines.command == 'l' && lines.count == 1) {
            lines.bad |= value < 0 || value > 65535;
            lines.label = lines.bad ? 0 : (uint32_t)value;
            lines.bad |= (lines_wide)lines.label != value; /* a class with a fraction */
        } else if (at < @NAME@_FEATURES) {
            lines.numbers[at] = (lines_number)value;
            lines.bad |= (lines_wide)lines.numbers[at] != value; /* more than the model's integers hold */
        }
    }
    lines.value = 0;
    lines.digits = lines.decimals = lines.negative = lines.point = 0;
}

static mb_status lines_answer(void)
{
    uint16_t label = 0;
#ifdef @NAME@_LOW
    static uint8_t input[@NAME@_INPUT_BYTES];
    (void)mb_quantise(&lines.model, lines.numbers, input);
#else
    const lines_number *const input = lines.numbers;
#endif
    if (lines.command == 'l') {
#ifdef MB_WITHOUT_LEARN
        return MB_E_FROZEN;
#else
        mb_learn_info info;
        const mb_status status = mb_learn(&lines.model, input, (uint16_t)lines.label, &info);
        if (status == MB_OK) {
            lines_say("learnt ");
            lines_say_class((uint16_t)lines.label);
            lines_say(", predicted ");
            lines_say_class(info.predicted);
        }
        return status;
#endif
    }
    int32_t scores[@NAME@_CLASSES];
    const mb_status status = mb_predict(&lines.model, input, scores, &label);
    if (status == MB_OK) {
        lines_say_class(label);
        lines_say(", margin ");
        lines_say_number(mb_margin(scores, @NAME@_CLASSES));
    }
    return status;
}

/* Takes the next character. Returns the answer, without a line end, where it ended a line; otherwise NULL. */
static const char *lines_take(char c)
{
    if (c == '\n' || c == '\r') {
        if (lines.command == 0) {
            return NULL; /* an empty line, or the second character of an end */
        }
        lines_end_number();
        const uint32_t wanted = @NAME@_FEATURES + (lines.command == 'l');
        lines.end = 0;
        if (lines.bad || (lines.command != 'p' && lines.command != 'l') || lines.count != wanted) {
            lines_say("? p and ");
            lines_say_number(@NAME@_FEATURES);
            lines_say(" numbers, or l, a class and the numbers");
        } else {
            const mb_status status = lines_answer();
            if (status != MB_OK) {
                lines_say("? ");
                lines_say(mb_strerror(status));
            }
        }
        lines.command = 0;
        lines.count = 0;
        lines.bad = 0;
        return lines.text;
    }
    if (c == ' ' || c == ',' || c == '\t') {
        lines_end_number();
    } else if (lines.command == 0) {
        lines.command = c;
    } else if (c >= '0' && c <= '9') {
        if (lines.digits < 9) {
            lines.value = lines.value * 10 + (lines_wide)(c - '0');
            lines.digits++;
            lines.decimals += lines.point;
        } else if (!lines.point) {
            lines.bad = 1;
        }
    } else if (c == '-' && lines.digits == 0 && !lines.negative) {
        lines.negative = 1;
    } else if (c == '.' && LINES_POINT && !lines.point) {
        lines.point = 1;
    } else {
        lines.bad = 1;
    }
    return NULL;
}

#endif
