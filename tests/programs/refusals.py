"""Programs that capture refuses today, each with the code of its refusal."""

EXPECTED = {
    "UnboundedRecursion": "DY320",  # only the data ends the recursion
    "NumpyRoundTrip": "DY201",  # a tensor's contents leave torch
    "NoneToTensor": "DY401",  # an attribute that starts as None
    "CacheGrows": "DY401",
    "ListAttribute": "DY401",  # a list of the model grows from call to call
    "ListReset": "DY402",
    "NmsLike": "DY302",  # a path that cannot be taken fails in torch
    "CountsToList": "DY208",  # tolist of a tensor whose length torch does not tell
    "InterpolateScale": "DY302",  # a float that the branches decide goes to C code
}
