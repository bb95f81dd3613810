"""Arithmetic entry by entry on a GPU: a thread for each."""

from __future__ import annotations

import math

import numpy as np

from minigen.target import cuda, gpu_kernel

THREADS = 256


@gpu_kernel
def _add(x, y, z):
    """One block per THREADS cells of x, y and z.
    A thread takes one cell.
    Reads x 1, y 1; writes z 1.
    Shared memory: none.
    """
    i = cuda.grid(1)
    if i < z.size:
        z[i] = x[i] + y[i]


@gpu_kernel
def _subtract(x, y, z):
    """One block per THREADS cells of x, y and z.
    A thread takes one cell.
    Reads x 1, y 1; writes z 1.
    Shared memory: none.
    """
    i = cuda.grid(1)
    if i < z.size:
        z[i] = x[i] - y[i]


@gpu_kernel
def _multiply(x, y, z):
    """One block per THREADS cells of x, y and z.
    A thread takes one cell.
    Reads x 1, y 1; writes z 1.
    Shared memory: none.
    """
    i = cuda.grid(1)
    if i < z.size:
        z[i] = x[i] * y[i]


@gpu_kernel
def _scale(x, factor, z):
    """One block per THREADS cells of x and z.
    A thread takes one cell.
    Reads x 1; writes z 1.
    Shared memory: none.
    """
    i = cuda.grid(1)
    if i < z.size:
        z[i] = x[i] * factor


@gpu_kernel
def _sqrt(x, z):
    """One block per THREADS cells of x and z.
    A thread takes one cell.
    Reads x 1; writes z 1.
    Shared memory: none.
    """
    i = cuda.grid(1)
    if i < z.size:
        z[i] = math.sqrt(x[i])


def add(device, x, y):
    """(b ...), (b ...) -> (b ...)"""
    return _launched(device, _add, x, y.reshape(-1))


def subtract(device, x, y):
    """(b ...), (b ...) -> (b ...)"""
    return _launched(device, _subtract, x, y.reshape(-1))


def multiply(device, x, y):
    """(b ...), (b ...) -> (b ...)"""
    return _launched(device, _multiply, x, y.reshape(-1))


def scale(device, x, factor):
    """(b ...) -> (b ...)"""
    return _launched(device, _scale, x, np.float32(factor))


def sqrt(device, x):
    """(b ...) -> (b ...)"""
    return _launched(device, _sqrt, x)


def _launched(device, kernel, x, *others):
    z = device.empty(x.shape)
    arguments = x.reshape(-1), *others, z.reshape(-1)
    device.launch(kernel, -(-x.size // THREADS), THREADS, *arguments)
    return z
