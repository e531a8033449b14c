/* The Python object of a model, and what the files of the binding share. */
#ifndef METABIT_PYTHON_MODEL_H
#define METABIT_PYTHON_MODEL_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "metabit.h"
#include "wide.h"

typedef struct {
    PyObject_HEAD
    mb_model model;
    void *image, *state, *arena, *wide;
    int busy;                /* 1 during a batch, which runs without the interpreter lock; read and set only with that lock */
    PyThread_type_lock step; /* held while steps change the state and while it is copied; taken without the interpreter lock */
    PyThread_type_lock next; /* held by the one thread that waits for step, so that the next turn is that thread's */
} Model;

/// _core.c ///

PyObject *fail(mb_status status); /* sets Fault and returns NULL */
int enter(Model *self);           /* 0 and RuntimeError if another thread uses the model */
void take_turn(Model *self);      /* takes step; without the interpreter lock */
int sample_count(const Py_buffer *x, Py_ssize_t size, Py_ssize_t *n); /* 0 and ValueError if x is not n samples of size bytes */

/* Ends a batch call: lets go of the model, if this call entered it, and of three buffers. ok: 0 if an exception is set. */
PyObject *leave(Model *self, int entered, Py_buffer **buffers, int ok, mb_status status);

typedef mb_status (*learn_step)(void *with, mb_model *m, const void *input, uint16_t label, mb_learn_info *info);

/* The arguments of predict_many and learn_many, for samples of `size` bytes. */
PyObject *predict_each(Model *self, PyObject *args, Py_ssize_t size,
                       mb_status (*predict)(const mb_model *, const void *, int32_t *, uint16_t *));
PyObject *learn_each(Model *self, PyObject *args, Py_ssize_t size, learn_step learn, void *with);

/// _tickets.c ///

PyObject *model_ticket_many(Model *self, PyObject *args);
PyObject *model_predict_tickets(Model *self, PyObject *args);
PyObject *model_learn_tickets(Model *self, PyObject *args);

#endif
