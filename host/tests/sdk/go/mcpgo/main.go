// The client of mark3labs/mcp-go.
package main

import (
	"context"
	"errors"
	"sync"

	mcpgo "github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/client/transport"
	"github.com/mark3labs/mcp-go/mcp"

	"lockgate/clients/suite"
)

type client struct {
	*mcpgo.Client
	mutex sync.Mutex
	heard map[any]func()
	next  int
}

func main() {
	suite.Run(connect)
}

type answers struct{}

func (answers) CreateMessage(context.Context, mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
	message := mcp.SamplingMessage{Role: mcp.RoleAssistant, Content: mcp.TextContent{Type: "text", Text: suite.Sampled}}
	return &mcp.CreateMessageResult{SamplingMessage: message, Model: "m", StopReason: "endTurn"}, nil
}

func (answers) Elicit(context.Context, mcp.ElicitationRequest) (*mcp.ElicitationResult, error) {
	response := mcp.ElicitationResponse{Action: mcp.ElicitationResponseActionAccept, Content: map[string]any{"name": suite.Named}}
	return &mcp.ElicitationResult{ElicitationResponse: response}, nil
}

func (answers) ListRoots(context.Context, mcp.ListRootsRequest) (*mcp.ListRootsResult, error) {
	return &mcp.ListRootsResult{Roots: []mcp.Root{{URI: suite.Root, Name: "root"}}}, nil
}

func connect(ctx context.Context, target suite.Target) (suite.Client, error) {
	var way transport.Interface
	var err error
	switch target.Transport {
	case "sse":
		way, err = transport.NewSSE(target.Args[0])
	case "http":
		way, err = transport.NewStreamableHTTP(target.Args[0])
	case "stdio":
		way = transport.NewStdio(target.Args[0], nil, target.Args[1:]...)
	default:
		err = errors.New("unknown transport")
	}
	if err != nil {
		return nil, err
	}
	made := &client{
		Client: mcpgo.NewClient(way, mcpgo.WithSamplingHandler(answers{}), mcpgo.WithElicitationHandler(answers{}), mcpgo.WithRootsHandler(answers{})),
		heard:  map[any]func(){},
	}
	made.OnNotification(func(notification mcp.JSONRPCNotification) {
		if notification.Method != "notifications/progress" {
			return
		}
		made.mutex.Lock()
		heard := made.heard[notification.Params.AdditionalFields["progressToken"]]
		made.mutex.Unlock()
		if heard != nil {
			heard()
		}
	})
	if err := made.Start(ctx); err != nil {
		return nil, err
	}
	request := mcp.InitializeRequest{}
	request.Params.ClientInfo = mcp.Implementation{Name: "suite", Version: "1"}
	_, err = made.Initialize(ctx, request)
	return made, err
}

func (c *client) Version() string { return c.ProtocolVersion() }

func (c *client) Tools(ctx context.Context) ([]string, error) {
	result, err := c.ListTools(ctx, mcp.ListToolsRequest{})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, tool := range result.Tools {
		names = append(names, tool.Name)
	}
	return names, nil
}

func (c *client) Call(ctx context.Context, tool string, arguments map[string]any, onProgress func()) (string, error) {
	request := mcp.CallToolRequest{}
	request.Params.Name = tool
	request.Params.Arguments = arguments
	if onProgress != nil {
		c.mutex.Lock()
		c.next++
		c.heard[float64(c.next)] = onProgress
		request.Params.Meta = &mcp.Meta{ProgressToken: c.next}
		c.mutex.Unlock()
	}
	result, err := c.CallTool(ctx, request)
	if err != nil {
		return "", err
	}
	return suite.Text(result.Content), nil
}

func (c *client) Prompt(ctx context.Context, name string) (string, error) {
	request := mcp.GetPromptRequest{}
	request.Params.Name = name
	result, err := c.GetPrompt(ctx, request)
	if err != nil {
		return "", err
	}
	return suite.Text(result.Messages), nil
}

func (c *client) Resource(ctx context.Context, uri string) (string, error) {
	request := mcp.ReadResourceRequest{}
	request.Params.URI = uri
	result, err := c.ReadResource(ctx, request)
	if err != nil {
		return "", err
	}
	return suite.Text(result.Contents), nil
}
