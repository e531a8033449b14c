/* The guard for Python: a copy of the guard data, a copy of the last good state, and the model that both belong to. */
#include "model.h"

#include "metabit_guard.h"

typedef struct {
    PyObject_HEAD
    mb_guard guard;
    Model *model; /* owned */
    void *data, *copy;
} Guard;

static mb_status take_back(void *context, mb_model *m)
{
    const Guard *self = context;
    const mb_vectors vectors = mb_widened(m);
    const mb_status status = mb_guard_take_back(self->copy, m);
    return status != MB_OK ? status : widen(self->model, vectors);
}

static mb_status copy(void *context, const mb_model *m)
{
    return mb_guard_copy(((const Guard *)context)->copy, m);
}

static void guard_dealloc(Guard *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyMem_Free(self->data);
    PyMem_Free(self->copy);
    Py_XDECREF(self->model);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

/* Guard(model, data, keep): keep: true if the last good state shall return */
static PyObject *guard_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwds))
{
    PyObject *model;
    Py_buffer data;
    int keep;
    if (!PyArg_ParseTuple(args, "O!y*p", ModelType, &model, &data, &keep)) {
        return NULL;
    }
    const int entered = enter((Model *)model);
    Guard *self = entered ? (Guard *)type->tp_alloc(type, 0) : NULL;
    if (self != NULL) {
        self->model = (Model *)Py_NewRef(model);
        const mb_guard_keep kept = {self, copy, take_back}, *const wanted = keep ? &kept : NULL;
        if (!allocate(&self->data, (size_t)data.len) || !allocate(&self->copy, mb_state_size(&self->model->model))) {
            Py_CLEAR(self);
        } else {
            memcpy(self->data, data.buf, (size_t)data.len);
            mb_status status;
            Py_BEGIN_ALLOW_THREADS
            take_turn(self->model); /* the guard keeps a copy of the state, as it is between two steps */
            status = mb_guard_open(&self->guard, &self->model->model, self->data, (size_t)data.len, wanted);
            PyThread_release_lock(self->model->step);
            Py_END_ALLOW_THREADS
            if (status != MB_OK) {
                fail(status);
                Py_CLEAR(self);
            }
        }
    }
    ((Model *)model)->busy = entered ? 0 : ((Model *)model)->busy;
    PyBuffer_Release(&data);
    return (PyObject *)self;
}

static mb_status learn_input(void *guard, mb_model *m, const void *input, uint16_t label, mb_learn_info *info)
{
    return mb_guard_learn(guard, m, input, label, info);
}

static mb_status learn_ticket(void *guard, mb_model *m, const void *ticket, uint16_t label, mb_learn_info *info)
{
    return mb_guard_learn_ticket(guard, m, ticket, label, info);
}

/* learn_many(x, labels, info): as that of the model */
static PyObject *guard_learn_many(Guard *self, PyObject *args)
{
    return learn_each(self->model, args, mb_input_size(&self->model->model), learn_input, &self->guard);
}

static PyObject *guard_learn_tickets(Guard *self, PyObject *args)
{
    return learn_each(self->model, args, mb_ticket_size(&self->model->model), learn_ticket, &self->guard);
}

static PyObject *guard_resume(Guard *self, PyObject *Py_UNUSED(ignored))
{
    if (!enter(self->model)) {
        return NULL;
    }
    mb_guard_resume(&self->guard);
    self->model->busy = 0;
    return Py_NewRef(Py_None);
}

/* Numbers of the guard, in the order of Report in guard.py. */
static PyObject *get_report(Guard *self, void *Py_UNUSED(closure))
{
    const mb_guard *g = &self->guard;
    return Py_BuildValue("(IIIIIIIIII)", g->status, g->reason, g->learnt, g->refused, g->tests, g->right, g->saves, g->ends, g->slow,
                         g->fast);
}

static PyMethodDef guard_methods[] = {
    {"learn_many", (PyCFunction)guard_learn_many, METH_VARARGS, NULL},
    {"learn_tickets", (PyCFunction)guard_learn_tickets, METH_VARARGS, NULL},
    {"resume", (PyCFunction)guard_resume, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef guard_properties[] = {
    {"report", (getter)get_report, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot guard_slots[] = {
    {Py_tp_new, guard_new},
    {Py_tp_dealloc, guard_dealloc},
    {Py_tp_methods, guard_methods},
    {Py_tp_getset, guard_properties},
    {0, NULL},
};

PyType_Spec guard_spec = {
    .name = "metabit.runtime._core.Guard",
    .basicsize = sizeof(Guard),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = guard_slots,
};
