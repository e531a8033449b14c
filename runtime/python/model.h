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
    void *input;             /* one input, behind it as many floats as it has features; for calls that take one sample */
    int busy;                /* 1 during a batch, which runs without the interpreter lock; read and set only with that lock */
    PyThread_type_lock step; /* held while steps use the state and while it is copied; taken without the interpreter lock */
    PyThread_type_lock next; /* held by the one thread that waits for step, so that the next turn is that thread's */
} Model;

/// _core.c ///

extern PyTypeObject *ModelType;
PyObject *fail(mb_status status);                 /* sets Fault and returns NULL */
int allocate(void **memory, size_t size);         /* at least one byte; 0 and MemoryError if there are none */
mb_status widen(Model *self, mb_vectors vectors); /* runs on these vectors again, after an mb_attach */
int enter(Model *self);                           /* 0 and RuntimeError if another thread uses the model */
void take_turn(Model *self);                      /* takes step; without the interpreter lock */

/// _batch.c ///

typedef mb_status (*learn_step)(void *with, mb_model *m, const void *input, uint16_t label, mb_learn_info *info);

/* The arguments of learn_many, for samples of `size` bytes. */
PyObject *learn_each(Model *self, PyObject *args, Py_ssize_t size, learn_step learn, void *with);

PyObject *model_predict_many(Model *self, PyObject *args);
PyObject *model_learn_many(Model *self, PyObject *args);
PyObject *model_predict_one(Model *self, PyObject *x);
PyObject *model_learn_one(Model *self, PyObject *const *args, Py_ssize_t n);
PyObject *model_ticket_many(Model *self, PyObject *args);
PyObject *model_predict_tickets(Model *self, PyObject *args);
PyObject *model_learn_tickets(Model *self, PyObject *args);

/// _guard.c ///

extern PyType_Spec guard_spec;

/// _state.c ///

PyObject *model_snapshot(Model *self, PyObject *ignored);
PyObject *model_adopt(Model *self, PyObject *args);
PyObject *model_merge(Model *self, PyObject *learned);

#endif
