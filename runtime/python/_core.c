/* The Python binding: memory, buffers and exceptions around metabit.h. It does no arithmetic. */
#include "model.h"

PyTypeObject *ModelType;
static PyObject *RuntimeFault; /* metabit.runtime._core.Fault(code, sentence); the Python side turns it into its own exception */

PyObject *fail(mb_status status)
{
    PyObject *args = Py_BuildValue("(is)", (int)status, mb_strerror(status));
    if (args != NULL) {
        PyErr_SetObject(RuntimeFault, args);
        Py_DECREF(args);
    }
    return NULL;
}

/// Creation ///

/* Finds the vectors of this name. Returns 0 and sets LookupError unless this processor runs them. */
static int choose(const char *name, mb_vectors *vectors)
{
    for (int v = 0; v < MB_VECTORS; v++) {
        if (strcmp(name, mb_vectors_name((mb_vectors)v)) == 0 && mb_vectors_runs((mb_vectors)v)) {
            *vectors = (mb_vectors)v;
            return 1;
        }
    }
    PyErr_Format(PyExc_LookupError, "no vectors %s", name);
    return 0;
}

/* Allocates bytes, at least one. Returns 0 and sets MemoryError if there are none. */
int allocate(void **memory, size_t size)
{
    *memory = PyMem_Malloc(size != 0 ? size : 1);
    return *memory != NULL || PyErr_NoMemory() != NULL;
}

mb_status widen(Model *self, mb_vectors vectors)
{
    const uintptr_t at = ((uintptr_t)self->wide + MB_WIDE_ALIGN - 1) & ~(uintptr_t)(MB_WIDE_ALIGN - 1);
    return mb_widen(&self->model, vectors, (void *)at, mb_wide_size(&self->model, vectors));
}

/* Opens a copy of the image in memories of its own. Returns 0 with an exception set if it cannot. */
static int open_copy(Model *self, const Py_buffer *image, mb_vectors vectors)
{
    self->step = PyThread_allocate_lock();
    self->next = PyThread_allocate_lock();
    if (self->step == NULL || self->next == NULL || !allocate(&self->image, (size_t)image->len)) {
        return PyErr_NoMemory() != NULL;
    }
    memcpy(self->image, image->buf, (size_t)image->len);
    mb_status status = mb_open(&self->model, self->image, (size_t)image->len);
    if (status == MB_OK) {
        const size_t state = mb_state_size(&self->model), arena = mb_arena_size(&self->model, MB_LEARN);
        if (!allocate(&self->state, state) || !allocate(&self->arena, arena)) {
            return 0;
        }
        status = mb_attach(&self->model, self->state, state, self->arena, arena);
    }
    if (status == MB_OK && !allocate(&self->input, 5u * ((mb_input_size(&self->model) + 3u) & ~(size_t)3u))) {
        return 0;
    }
    const size_t wide = status == MB_OK ? mb_wide_size(&self->model, vectors) : 0;
    if (wide != 0 && !allocate(&self->wide, wide + MB_WIDE_ALIGN)) {
        return 0;
    }
    if (status == MB_OK) {
        status = widen(self, vectors);
    }
    return status == MB_OK || fail(status) != NULL;
}

static PyObject *model_new(PyTypeObject *type, PyObject *args, PyObject *kwds)
{
    Py_buffer image;
    const char *wanted = NULL;
    mb_vectors vectors = mb_vectors_best();
    static char *names[] = {"image", "vectors", NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwds, "y*|z", names, &image, &wanted)) {
        return NULL;
    }
    Model *self = wanted == NULL || choose(wanted, &vectors) ? (Model *)type->tp_alloc(type, 0) : NULL;
    if (self != NULL && !open_copy(self, &image, vectors)) {
        Py_CLEAR(self);
    }
    PyBuffer_Release(&image);
    return (PyObject *)self;
}

static void model_dealloc(Model *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyMem_Free(self->image);
    PyMem_Free(self->state);
    PyMem_Free(self->arena);
    PyMem_Free(self->wide);
    PyMem_Free(self->input);
    if (self->step != NULL) {
        PyThread_free_lock(self->step);
    }
    if (self->next != NULL) {
        PyThread_free_lock(self->next);
    }
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

/// Use ///

int enter(Model *self)
{
    if (self->busy) {
        PyErr_SetString(PyExc_RuntimeError, "this model is in use by another thread: one Model a thread");
        return 0;
    }
    self->busy = 1;
    return 1;
}

/* Waits until no step is under way. Without next, a thread that learns could take step again before a waiting one wakes. */
void take_turn(Model *self)
{
    PyThread_acquire_lock(self->next, WAIT_LOCK);
    PyThread_acquire_lock(self->step, WAIT_LOCK);
    PyThread_release_lock(self->next);
}

/* export(): the learned image, as it is between two steps. Another thread may be learning. */
static PyObject *model_export(Model *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *out = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)self->model.image_size);
    if (out == NULL) {
        return NULL;
    }
    char *const to = PyBytes_AS_STRING(out);
    mb_status status;
    Py_BEGIN_ALLOW_THREADS
    take_turn(self);
    status = mb_export(&self->model, to, self->model.image_size);
    PyThread_release_lock(self->step);
    Py_END_ALLOW_THREADS
    if (status != MB_OK) {
        Py_DECREF(out);
        return fail(status);
    }
    return out;
}

/// Properties ///

/* The state, as it is between two steps. */
static PyObject *get_state(Model *self, void *Py_UNUSED(closure))
{
    const size_t size = mb_state_size(&self->model);
    PyObject *out = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    if (out != NULL) {
        char *const to = PyBytes_AS_STRING(out);
        Py_BEGIN_ALLOW_THREADS
        take_turn(self);
        memcpy(to, self->state, size);
        PyThread_release_lock(self->step);
        Py_END_ALLOW_THREADS
    }
    return out;
}

static PyObject *get_vectors(Model *self, void *Py_UNUSED(closure))
{
    return PyUnicode_FromString(mb_vectors_name(mb_widened(&self->model)));
}

static PyObject *get_number(Model *self, void *which)
{
    const mb_model *m = &self->model;
    return PyLong_FromSize_t((const size_t[]){mb_input_size(m), mb_classes(m), m->image_size, mb_state_size(m),
        mb_arena_size(m, MB_INFER), mb_arena_size(m, MB_LEARN), mb_identity(m), mb_ticket_size(m)}[(uintptr_t)which]);
}

static PyMethodDef model_methods[] = {
    {"predict_many", (PyCFunction)model_predict_many, METH_VARARGS, NULL},
    {"learn_many", (PyCFunction)model_learn_many, METH_VARARGS, NULL},
    {"predict_one", (PyCFunction)model_predict_one, METH_O, NULL},
    {"learn_one", (PyCFunction)(void (*)(void))model_learn_one, METH_FASTCALL, NULL},
    {"ticket_many", (PyCFunction)model_ticket_many, METH_VARARGS, NULL},
    {"predict_tickets", (PyCFunction)model_predict_tickets, METH_VARARGS, NULL},
    {"learn_tickets", (PyCFunction)model_learn_tickets, METH_VARARGS, NULL},
    {"export", (PyCFunction)model_export, METH_NOARGS, NULL},
    {"snapshot", (PyCFunction)model_snapshot, METH_NOARGS, NULL},
    {"adopt", (PyCFunction)model_adopt, METH_VARARGS, NULL},
    {"merge", (PyCFunction)model_merge, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef model_properties[] = {
    {"state", (getter)get_state, NULL, NULL, NULL},
    {"vectors", (getter)get_vectors, NULL, NULL, NULL},
    {"input_size", (getter)get_number, NULL, NULL, (void *)0},
    {"classes", (getter)get_number, NULL, NULL, (void *)1},
    {"image_size", (getter)get_number, NULL, NULL, (void *)2},
    {"state_size", (getter)get_number, NULL, NULL, (void *)3},
    {"arena_infer", (getter)get_number, NULL, NULL, (void *)4},
    {"arena_learn", (getter)get_number, NULL, NULL, (void *)5},
    {"identity", (getter)get_number, NULL, NULL, (void *)6},
    {"ticket_size", (getter)get_number, NULL, NULL, (void *)7},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot model_slots[] = {
    {Py_tp_new, model_new},
    {Py_tp_dealloc, model_dealloc},
    {Py_tp_methods, model_methods},
    {Py_tp_getset, model_properties},
    {0, NULL},
};

static PyType_Spec model_spec = {
    .name = "metabit.runtime._core.Model",
    .basicsize = sizeof(Model),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = model_slots,
};

/// Module ///

static int core_exec(PyObject *module)
{
    PyObject *type = PyType_FromSpec(&model_spec), *guard = PyType_FromSpec(&guard_spec);
    ModelType = (PyTypeObject *)type;
    RuntimeFault = PyErr_NewException("metabit.runtime._core.Fault", PyExc_ValueError, NULL);
    if (type == NULL || guard == NULL || RuntimeFault == NULL || PyModule_AddObjectRef(module, "Model", type) != 0 ||
        PyModule_AddObjectRef(module, "Guard", guard) != 0 || PyModule_AddObjectRef(module, "Fault", RuntimeFault) != 0) {
        Py_XDECREF(type);
        Py_XDECREF(guard);
        return -1;
    }
    Py_DECREF(guard); /* ModelType keeps the other one */
    PyObject *known = PyList_New(0), *here = PyList_New(0); /* names of all vectors, and of those that this processor runs */
    for (int v = 0; known != NULL && here != NULL && v < MB_VECTORS; v++) {
        PyObject *name = PyUnicode_FromString(mb_vectors_name((mb_vectors)v));
        if (name == NULL || PyList_Append(known, name) != 0 || (mb_vectors_runs((mb_vectors)v) && PyList_Append(here, name) != 0)) {
            Py_XDECREF(name);
            Py_CLEAR(known);
            break;
        }
        Py_DECREF(name);
    }
    const int added = known != NULL && here != NULL && PyModule_AddObjectRef(module, "VECTORS", known) == 0 &&
                      PyModule_AddObjectRef(module, "VECTORS_HERE", here) == 0;
    Py_XDECREF(known);
    Py_XDECREF(here);
    return added ? PyModule_AddIntConstant(module, "FORMAT_MAJOR", MB_FORMAT_MAJOR) : -1;
}

/* strerror(status) -> sentence */
static PyObject *core_strerror(PyObject *module, PyObject *status)
{
    (void)module;
    const long code = PyLong_AsLong(status);
    return code == -1 && PyErr_Occurred() ? NULL : PyUnicode_FromString(mb_strerror((mb_status)code));
}

static PyMethodDef core_methods[] = {{"strerror", core_strerror, METH_O, NULL}, {NULL, NULL, 0, NULL}};
static PyModuleDef_Slot core_slots[] = {{Py_mod_exec, core_exec}, {0, NULL}};

static struct PyModuleDef core_module = {
    PyModuleDef_HEAD_INIT, .m_name = "_core", .m_doc = "Binding of the metabit C runtime.", .m_methods = core_methods,
    .m_slots = core_slots,
};

PyMODINIT_FUNC PyInit__core(void);

PyMODINIT_FUNC PyInit__core(void)
{
    return PyModuleDef_Init(&core_module);
}
