/* The binding of metabit_snapshot.h and metabit_merge.h. */
#include "metabit_merge.h"
#include "metabit_snapshot.h"
#include "model.h"

/* snapshot(): the state between two steps, with its head. Another thread may be learning. */
PyObject *model_snapshot(Model *self, PyObject *Py_UNUSED(ignored))
{
    uint32_t head[MB_SNAPSHOT_WORDS];
    const size_t size = mb_state_size(&self->model);
    PyObject *out = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(sizeof head + size));
    if (out == NULL) {
        return NULL;
    }
    char *const to = PyBytes_AS_STRING(out);
    mb_status status;
    Py_BEGIN_ALLOW_THREADS
    take_turn(self);
    status = mb_snapshot_head(&self->model, head);
    memcpy(to, head, sizeof head);
    memcpy(to + sizeof head, self->state, size);
    PyThread_release_lock(self->step);
    Py_END_ALLOW_THREADS
    if (status != MB_OK) {
        Py_DECREF(out);
        return fail(status);
    }
    return out;
}

/* adopt(state): a snapshot, or a state alone, becomes the state between two steps. Another thread may be learning or predicting. */
PyObject *model_adopt(Model *self, PyObject *args)
{
    Py_buffer given;
    void *copy;
    if (!PyArg_ParseTuple(args, "y*", &given)) {
        return NULL;
    }
    const size_t size = (size_t)given.len;
    const int allocated = allocate(&copy, size); /* aligned, and nobody changes it meanwhile */
    if (allocated) {
        memcpy(copy, given.buf, size);
    }
    PyBuffer_Release(&given);
    if (!allocated) {
        return NULL;
    }
    mb_status status;
    Py_BEGIN_ALLOW_THREADS
    take_turn(self);
    const mb_vectors vectors = mb_widened(&self->model);
    status = mb_adopt(&self->model, copy, size);
    if (status == MB_OK) {
        status = widen(self, vectors);
    }
    PyThread_release_lock(self->step);
    Py_END_ALLOW_THREADS
    PyMem_Free(copy);
    return status == MB_OK ? Py_NewRef(Py_None) : fail(status);
}

/* merge(learned): takes over what fits of another model -> (result, sentence, kept, fresh, gone) */
PyObject *model_merge(Model *self, PyObject *learned)
{
    if (!PyObject_TypeCheck(learned, Py_TYPE(self)) || learned == (PyObject *)self) {
        PyErr_SetString(PyExc_TypeError, "merge takes another model");
        return NULL;
    }
    Model *const other = (Model *)learned;
    const size_t size = mb_state_size(&other->model);
    void *copy;
    if (!allocate(&copy, size)) {
        return NULL;
    }
    mb_merged told;
    mb_status status;
    Py_BEGIN_ALLOW_THREADS
    take_turn(other);
    memcpy(copy, other->state, size);
    PyThread_release_lock(other->step);
    take_turn(self);
    const mb_vectors vectors = mb_widened(&self->model);
    status = mb_merge(&self->model, &other->model, copy, &told);
    if (status == MB_OK) {
        status = widen(self, vectors);
    }
    PyThread_release_lock(self->step);
    Py_END_ALLOW_THREADS
    PyMem_Free(copy);
    return status != MB_OK ? fail(status)
                           : Py_BuildValue("(isHHH)", (int)told.result, mb_merge_sentence(told.result), told.kept, told.fresh, told.gone);
}
