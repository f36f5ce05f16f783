"""A family whose nets take as long as a test wants, on a machine however busy: their training mostly sleeps."""

import os
import time

import torch
from torch import nn

import nws
from nws.families import standard


class Waiting(nws.Family):
    """One small matrix; each record after the first waits for $NWS_WAIT seconds."""

    name = "waiting"
    properties = (*standard("dataset"), nws.Property("rate", (0.05, 0.5), "step size", continuous=True))
    measures = ("step", "loss")

    def module(self, config, generator=None):
        return nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(48, 4))

    def train(self, config, images, rng, epochs):
        net = self.module(config)
        for step in range(epochs + 1):
            yield nws.Record(step, net, {"loss": float(step)})
            time.sleep(float(os.environ.get("NWS_WAIT", "0.1")))
            with torch.no_grad():
                for p in net.parameters():
                    p *= 1 - config.rate
