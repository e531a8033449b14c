/* Calls on samples, many or one, by inputs or by tickets. */
#include "metabit_float.h"
#include "model.h"

/* Batch calls let other threads run, and check for Ctrl-C, after this many samples. Steps made before Ctrl-C stay learnt. */
enum { SAMPLES_AT_A_TIME = 16 };

/* Returns 0 and sets ValueError if x is not n samples of so many bytes. */
static int sample_count(const Py_buffer *x, Py_ssize_t size, Py_ssize_t *n)
{
    if (x->len % size != 0) {
        PyErr_Format(PyExc_ValueError, "inputs have %zd bytes, not a multiple of %zd", x->len, size);
        return 0;
    }
    *n = x->len / size;
    return 1;
}

/* Ends a batch call: lets go of the model, if this call entered it, and of three buffers. ok: 0 if an exception is set. */
static PyObject *leave(Model *self, int entered, Py_buffer **buffers, int ok, mb_status status)
{
    self->busy = entered ? 0 : self->busy;
    for (int i = 0; i < 3; i++) {
        PyBuffer_Release(buffers[i]);
    }
    return !ok ? NULL : status == MB_OK ? Py_NewRef(Py_None) : fail(status);
}

static PyObject *predict_each(Model *self, PyObject *args, Py_ssize_t size,
                              mb_status (*predict)(const mb_model *, const void *, int32_t *, uint16_t *))
{
    Py_buffer x, scores, labels;
    if (!PyArg_ParseTuple(args, "y*w*w*", &x, &scores, &labels)) {
        return NULL;
    }
    const Py_ssize_t classes = mb_classes(&self->model);
    Py_ssize_t n = 0;
    int ok = sample_count(&x, size, &n);
    if (ok && (scores.len != n * classes * 4 || labels.len != n * 2)) {
        PyErr_SetString(PyExc_ValueError, "scores or labels do not fit the inputs");
        ok = 0;
    }
    mb_status status = MB_OK;
    ok = ok && enter(self);
    const int mine = ok;
    for (Py_ssize_t i = 0; ok && status == MB_OK && i < n;) {
        const Py_ssize_t end = i + SAMPLES_AT_A_TIME < n ? i + SAMPLES_AT_A_TIME : n;
        Py_BEGIN_ALLOW_THREADS
        take_turn(self);
        for (; status == MB_OK && i < end; i++) {
            status = predict(&self->model, (const char *)x.buf + i * size, (int32_t *)scores.buf + i * classes,
                             (uint16_t *)labels.buf + i);
        }
        PyThread_release_lock(self->step);
        Py_END_ALLOW_THREADS
        ok = PyErr_CheckSignals() == 0;
    }
    return leave(self, mine, (Py_buffer *[]){&x, &scores, &labels}, ok, status);
}

/* predict_many(x, scores, labels): x n*input_size bytes; scores int32 n*classes and labels uint16 n are filled */
PyObject *model_predict_many(Model *self, PyObject *args)
{
    return predict_each(self, args, mb_input_size(&self->model), mb_predict);
}

PyObject *learn_each(Model *self, PyObject *args, Py_ssize_t size, learn_step learn, void *with)
{
    Py_buffer x, labels, info;
    if (!PyArg_ParseTuple(args, "y*y*w*", &x, &labels, &info)) {
        return NULL;
    }
    Py_ssize_t n = 0;
    int ok = sample_count(&x, size, &n);
    if (ok && (labels.len != n * 2 || info.len != n * 20)) {
        PyErr_SetString(PyExc_ValueError, "labels or info do not fit the inputs");
        ok = 0;
    }
    mb_status status = MB_OK;
    ok = ok && enter(self);
    const int mine = ok;
    for (Py_ssize_t i = 0; ok && status == MB_OK && i < n;) {
        const Py_ssize_t end = i + SAMPLES_AT_A_TIME < n ? i + SAMPLES_AT_A_TIME : n;
        Py_BEGIN_ALLOW_THREADS
        take_turn(self);
        for (; status == MB_OK && i < end; i++) {
            mb_learn_info done;
            status = learn(with, &self->model, (const char *)x.buf + i * size, ((const uint16_t *)labels.buf)[i], &done);
            if (status == MB_OK) {
                const uint32_t row[5] = {done.predicted, done.skipped, done.visited, done.moved, done.flipped};
                memcpy((char *)info.buf + i * (Py_ssize_t)sizeof row, row, sizeof row);
            }
        }
        PyThread_release_lock(self->step);
        Py_END_ALLOW_THREADS
        ok = PyErr_CheckSignals() == 0;
    }
    return leave(self, mine, (Py_buffer *[]){&x, &labels, &info}, ok, status);
}

static mb_status learn_input(void *with, mb_model *m, const void *input, uint16_t label, mb_learn_info *info)
{
    return (void)with, mb_learn(m, input, label, info);
}

/* learn_many(x, labels, info): labels uint16 n; info uint32 n*5, as Steps in tickets.py, is filled */
PyObject *model_learn_many(Model *self, PyObject *args)
{
    return learn_each(self, args, mb_input_size(&self->model), learn_input, NULL);
}

/* ticket_many(x, tickets): x n*input_size bytes; tickets n*ticket_size bytes are filled */
PyObject *model_ticket_many(Model *self, PyObject *args)
{
    Py_buffer x, tickets, none = {0};
    if (!PyArg_ParseTuple(args, "y*w*", &x, &tickets)) {
        return NULL;
    }
    const Py_ssize_t size = mb_input_size(&self->model), given = mb_ticket_size(&self->model);
    Py_ssize_t n = 0;
    int ok = sample_count(&x, size, &n);
    if (ok && tickets.len != n * given) {
        PyErr_SetString(PyExc_ValueError, "tickets do not fit the inputs");
        ok = 0;
    }
    mb_status status = MB_OK;
    ok = ok && enter(self);
    const int mine = ok;
    if (ok) {
        Py_BEGIN_ALLOW_THREADS
        take_turn(self);
        for (Py_ssize_t i = 0; status == MB_OK && i < n; i++) {
            status = mb_ticket(&self->model, (const char *)x.buf + i * size, (char *)tickets.buf + i * given);
        }
        PyThread_release_lock(self->step);
        Py_END_ALLOW_THREADS
    }
    return leave(self, mine, (Py_buffer *[]){&x, &tickets, &none}, ok, status);
}

/* predict_tickets(tickets, scores, labels): as predict_many */
PyObject *model_predict_tickets(Model *self, PyObject *args)
{
    return predict_each(self, args, mb_ticket_size(&self->model), mb_predict_ticket);
}

static mb_status learn_ticket(void *with, mb_model *m, const void *ticket, uint16_t label, mb_learn_info *info)
{
    return (void)with, mb_learn_ticket(m, ticket, label, info);
}

/* learn_tickets(tickets, labels, info): as learn_many */
PyObject *model_learn_tickets(Model *self, PyObject *args)
{
    return learn_each(self, args, mb_ticket_size(&self->model), learn_ticket, NULL);
}

/// One sample. These calls keep the interpreter lock: most steps take less time than letting go of it. ///

/* Finds the device's bytes of one sample in the buffer of x, where that needs no look at single numbers: its own integers, or floats for
 * an image with a scale. Returns NULL, without an exception, where inputs.py must convert or refuse them. */
static const void *one_input(const Model *self, PyObject *x, Py_buffer *view)
{
    if (!PyObject_CheckBuffer(x) || PyBytes_Check(x)) {
        return NULL;
    }
    if (PyObject_GetBuffer(x, view, PyBUF_ND | PyBUF_FORMAT) != 0) {
        PyErr_Clear();
        return NULL;
    }
    const uint8_t *const record = (const uint8_t *)self->image + 64;
    const int cuts = record[0] == 7 || record[0] == 11, scaled = cuts && (record[32] | record[33] | record[34] | record[35]) != 0;
    const Py_ssize_t size = mb_input_size(&self->model), features = cuts ? record[4] + 256 * record[5] : size;
    const char format = view->format != NULL && view->format[1] == 0 ? view->format[0] : 0;
    if (view->ndim != 1) {
        return NULL;
    }
    if ((format == 'B' && view->len == size) || (!scaled && view->len == size && format == (size != features ? 'h' : '?'))) {
        return view->buf;
    }
    if (!scaled || view->shape[0] != features || (format != 'f' && format != 'd')) {
        return NULL;
    }
    float *const numbers = (float *)(void *)((char *)self->input + ((size + 3) & ~(Py_ssize_t)3)), none = 0;
    float sum = 0; /* NaN if a number is infinite or NaN */
    for (Py_ssize_t f = 0; f < features; f++) {
        numbers[f] = format == 'f' ? ((const float *)view->buf)[f] : (float)((const double *)view->buf)[f];
        sum += numbers[f] * none;
    }
    if (sum != 0) {
        return NULL;
    }
    (void)mb_quantise(&self->model, numbers, self->input);
    return self->input;
}

/* predict_one(x): the class, or None where predict_many must look at x, or wait */
PyObject *model_predict_one(Model *self, PyObject *x)
{
    Py_buffer view = {0};
    uint16_t label = 0;
    const void *const input = one_input(self, x, &view);
    const int mine = input != NULL && enter(self), turn = mine && PyThread_acquire_lock(self->step, NOWAIT_LOCK);
    const mb_status status = turn ? mb_predict(&self->model, input, NULL, &label) : MB_OK;
    if (turn) {
        PyThread_release_lock(self->step);
    }
    self->busy = mine ? 0 : self->busy;
    PyBuffer_Release(&view);
    if (input == NULL || (mine && !turn)) {
        return Py_NewRef(Py_None);
    }
    return !mine ? NULL : status != MB_OK ? fail(status) : PyLong_FromLong(label);
}

/* learn_one(x, label): (predicted, skipped, visited, moved, flipped), or None where learn_many must look at them, or wait */
PyObject *model_learn_one(Model *self, PyObject *const *args, Py_ssize_t n)
{
    Py_buffer view = {0};
    mb_learn_info done = {0, 0, 0, 0, 0};
    if (n != 2) {
        PyErr_SetString(PyExc_TypeError, "learn_one takes x and a label");
        return NULL;
    }
    const Py_ssize_t label = PyBool_Check(args[1]) || !PyIndex_Check(args[1]) ? -1 : PyNumber_AsSsize_t(args[1], NULL);
    PyErr_Clear();
    const void *const input = label >= 0 && label < mb_classes(&self->model) ? one_input(self, args[0], &view) : NULL;
    const int mine = input != NULL && enter(self), turn = mine && PyThread_acquire_lock(self->step, NOWAIT_LOCK);
    const mb_status status = turn ? mb_learn(&self->model, input, (uint16_t)label, &done) : MB_OK;
    if (turn) {
        PyThread_release_lock(self->step);
    }
    self->busy = mine ? 0 : self->busy;
    PyBuffer_Release(&view);
    if (input == NULL || (mine && !turn)) {
        return Py_NewRef(Py_None);
    }
    return !mine ? NULL : status != MB_OK ? fail(status)
         : Py_BuildValue("(INIII)", (unsigned)done.predicted, PyBool_FromLong(done.skipped), (unsigned)done.visited, (unsigned)done.moved,
                         (unsigned)done.flipped);
}
