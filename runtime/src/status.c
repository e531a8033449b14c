/* One sentence for each error, and the function that was taken out. */
#include "metabit.h"

const char *mb_strerror(mb_status status)
{
    switch (status) {
    case MB_OK: return "no error";
    case MB_E_NULL: return "a required pointer is NULL";
    case MB_E_ALIGN: return "a memory is not 4-byte aligned";
    case MB_E_TRUNCATED: return "the image is truncated";
    case MB_E_MAGIC: return "not a metabit image (it does not start with \"MBIT\")";
    case MB_E_VERSION: return "the image has another major format version than this library reads";
    case MB_E_HEADER_CRC: return "the image's header or layer records are damaged (checksum mismatch)";
    case MB_E_CONST_CRC: return "the image's constant section is damaged (checksum mismatch)";
    case MB_E_STATE_CRC: return "the image's state section is damaged (checksum mismatch)";
    case MB_E_SECTION: return "the image's sections overlap or are misplaced";
    case MB_E_LAYERS: return "the layers are in an order that FORMAT.md does not have, for example without an output";
    case MB_E_KIND: return "a layer is of a kind this library does not know";
    case MB_E_SHAPE: return "a layer is empty, too large (FORMAT.md has the limits), or does not fit the one before it";
    case MB_E_BITS: return "a layer has more or fewer bits than its kind can have, or learns with fewer than 2";
    case MB_E_PLANES: return "a layer has too few or too many counter planes for its sums";
    case MB_E_OFFSET: return "an offset points outside its section or is misaligned";
    case MB_E_RULE: return "a parameter, or a field of a head's state, is outside its range";
    case MB_E_SCORES: return "a score could overflow 32 bits";
    case MB_E_GENERATOR: return "the generator state is zero";
    case MB_E_PADDING: return "a padding bit is not zero";
    case MB_E_STATE_SIZE: return "the state memory is smaller than mb_state_size()";
    case MB_E_ARENA_SIZE: return "the arena is smaller than mb_arena_size()";
    case MB_E_DETACHED: return "no memories attached, or no state to export: call mb_attach with both first";
    case MB_E_LABEL: return "the label is not smaller than the number of classes, or the head has no row left for its class";
    case MB_E_SAME: return "an image cannot be exported over the one in use";
    case MB_E_WINDOW: return "a convolution's window, stride, padding or pool does not fit its image, or the image is too large";
    case MB_E_LEARNS: return "a convolution, a layer on 8-bit inputs or one beside a graded layer is marked as learning, or a head is not";
    case MB_E_ABSENT: return "the image needs a part that this build of the library leaves out (MB_WITHOUT_...)";
    case MB_E_STORE: return "a function of the store's driver failed: to read, program or erase";
    case MB_E_STORE_SIZE: return "the store has too few pages for this state, a page that is no multiple of its programs, or programs that are not 1, 2, 4, 8, 16 or 32 bytes";
    case MB_E_NO_SNAPSHOT: return "the store holds no whole snapshot: nothing was saved yet";
    case MB_E_IDENTITY: return "the state grew from another image";
    case MB_E_FRAME: return "a request over the serial line cannot be done";
    case MB_E_GRADED: return "mb_novelty was taken out: rank predictions by mb_margin";
    case MB_E_GUARD: return "the guard data are damaged or of another image: export them again with this one";
    case MB_E_TICKET: return "the ticket was not made by this image: it holds a value that the network cannot give";
    case MB_E_FROZEN: return "nothing to learn: no layer learns, or the model was attached without state or with an arena for inference";
    }
    return "unknown status";
}

mb_status mb_novelty(const mb_model *m, uint32_t *novelty)
{
    (void)m;
    (void)novelty;
    return MB_E_GRADED;
}
